"""The robots that ship with the package, and what a robot's YAML must not say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from vla_ros.core.config import parse
from vla_ros.core.errors import ConfigError
from vla_ros.core.paths import share_folder
from vla_ros.core.robot import JointSpec, RobotSpec, load_robot

ROBOTS = sorted(path.stem for path in (share_folder() / "config" / "robots").glob("*.yaml"))
SAME_TOPIC = {"topic": "/joint_commands", "type": "Float64MultiArray"}
UR_ARM = tuple(f"{j}_joint" for j in ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3"))


@pytest.mark.parametrize("name", ROBOTS)
def test_shipped_robots_load(name: str) -> None:
    robot = load_robot(name)
    assert robot.name == name
    assert sorted(column for _, columns in robot.outputs for column in columns) == list(range(len(robot.joints)))
    assert robot.is_gripper.sum() == 1


def test_tabletop_is_the_datasheet() -> None:
    robot = load_robot("ur5e_tabletop")
    assert robot.joint_names == (*UR_ARM, "gripper_joint")
    assert robot.camera_names == ("front", "wrist")
    np.testing.assert_allclose(robot.limits("upper")[:6], np.pi * np.array([2, 2, 1, 2, 2, 2]), atol=1e-4)
    np.testing.assert_allclose(robot.limits("max_velocity")[:6], np.pi, atol=1e-4)
    assert (robot.limits("lower")[6], robot.limits("upper")[6]) == (0.0, 1.0)


def test_by_path_and_by_name_are_the_same() -> None:
    assert load_robot(share_folder() / "config/robots/ur5e.yaml") == load_robot("ur5e")
    assert load_robot("config/robots/ur5e.yaml") == load_robot("ur5e")


def test_an_unknown_name_is_answered_with_a_known_one() -> None:
    with pytest.raises(ConfigError, match="nothing is called 'ur5'; did you mean 'ur5e"):
        load_robot("ur5")
    with pytest.raises(ConfigError, match=r"nowhere/robot\.yaml: no such file"):
        load_robot("nowhere/robot.yaml")


def test_the_gripper_may_have_its_own_output() -> None:
    robot = load_robot("ur5e")
    (arm, arm_columns), (gripper, gripper_columns) = robot.outputs
    assert (arm.topic, arm_columns) == ("/forward_position_controller/commands", (0, 1, 2, 3, 4, 5))
    assert (gripper.topic, gripper_columns) == ("/gripper_position_controller/commands", (6,))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("joints", 0, "lower"), 9.0, r"joints\[0\]: lower 9.0 is not below upper"),
        (("joints", 1, "max_velocity"), 0, r"joints\[1\]: max_velocity must be > 0, got 0.0"),
        (("joints", 1, "name"), "shoulder_pan_joint", "the name 'shoulder_pan_joint' is given twice"),
        (("joints", 1, "kind"), "rotary", "must be one of revolute, continuous, prismatic, gripper, got 'rotary'"),
        (("joints",), [], "joints must have at least one entry"),
        (("cameras", 0, "width"), 0, "camera size must be 1 to 8192 pixels a side, or left out, got 0 x 64"),
        (("cameras", 0, "encoding"), "16UC1", "must be one of any, rgb8"),
        (("command", "rate_hz"), 5000, "rate_hz must be 1 to 1000, got 5000.0"),
        (("command", "type"), "Twist", "must be one of Float64MultiArray"),
        (
            ("command", "type"),
            "JointState",
            "interface: velocity needs type: Float64MultiArray, got type: JointState",
        ),
        (("command", "topic"), "/joint commands", "topic '/joint commands' is not a ROS name"),
        (("cameras", 0, "name"), "hand/left", r"cameras\[0\]: camera name 'hand/left' must be 1 to 64 letters"),
        (("cameras", 0, "name"), "..", "camera name '..' must be"),
        (("cameras", 0, "name"), "cam-1", "camera name 'cam-1' must be"),
        (("cameras", 0, "name"), "observation.images.front", "camera name"),
        (("cameras", 0, "name"), "front\n", "camera name"),
        (("cameras", 0, "name"), "x" * 65, "camera name"),
        (("cameras", 0, "topic"), "", r"cameras\[0\]: topic '' is not a ROS name"),
        (("sync", "history"), 0, "history must be 1 to 64 frames, got 0"),
        (("guard", "position_margin"), 4.0, "position_margin leaves no room between the limits of 'elbow_joint'"),
        (("guard", "plan_timeout_s"), -1, "plan_timeout_s must be > 0, got -1.0"),
        (("guard", "resume_within_s"), -1, "resume_within_s must be >= 0, got -1.0"),
        (("guard", "reading_slack"), 0, "reading_slack must be > 0, got 0.0"),
        (("joints", 0, "lower"), float("-inf"), r"joints\[0\]: the key 'lower' is missing; only kind: continuous"),
        (("joints", 0, "lower"), float("nan"), "must be a finite number, got nan"),
        (("joints", 0, "max_velocity"), float("inf"), "must be a finite number, got inf"),
        (("guard", "plan_timeout"), 1, "did you mean 'plan_timeout_s'"),
        (("gripper_command",), SAME_TOPIC, "gripper_command.topic must differ from command.topic, got /joint_commands"),
    ],
)
def test_a_wrong_robot_is_refused(tmp_path: Path, path: tuple[str | int, ...], value: object, message: str) -> None:
    data = yaml.safe_load((share_folder() / "config/robots/ur5e_tabletop.yaml").read_text(encoding="utf-8"))
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    if value == "JointState":
        inner["interface"] = "velocity"
    file = tmp_path / "robot.yaml"
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_robot(file)


def test_commands_may_be_velocities() -> None:
    command = replace(load_robot("ur5e").command, interface="velocity")
    assert (command.type, command.interface) == ("Float64MultiArray", "velocity")


def test_an_unknown_camera_is_named(tmp_path: Path) -> None:
    robot: RobotSpec = load_robot("ur5e")
    with pytest.raises(ConfigError, match="has no camera 'top'; it has front, wrist"):
        robot.camera("top")


@pytest.mark.parametrize("ends", [{}, {"lower": float("-inf"), "upper": float("inf")}, {"lower": -9, "upper": 9.5}])
def test_a_continuous_joint_needs_no_ends(ends: dict[str, float]) -> None:
    joint = {"name": "a", "kind": "continuous", "max_velocity": 2, "max_acceleration": 10, "max_jerk": 100}
    read = parse(joint | ends, JointSpec, "joint.yaml")
    assert (read.lower, read.upper) == (ends.get("lower", -np.inf), ends.get("upper", np.inf))


def test_any_other_joint_needs_them() -> None:
    with pytest.raises(ConfigError, match="the key 'upper' is missing; only kind: continuous turns without end"):
        parse({"name": "a", "lower": -1, "max_velocity": 2, "max_acceleration": 10, "max_jerk": 9}, JointSpec, "y")
    with pytest.raises(ConfigError, match="the key 'max_jerk' is missing"):
        parse({"name": "a", "lower": -1, "upper": 1, "max_velocity": 2, "max_acceleration": 10}, JointSpec, "y")
