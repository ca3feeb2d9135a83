"""A drafted YAML loads and passes its own check; each wrong thing is a row that says how to mend it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from descriptions import ARM

from vla_ros.core.description.check import check_graph, check_urdf
from vla_ros.core.description.draft import Wishes, draft
from vla_ros.core.description.graph import CameraSeen, CommandsSeen, Graph, StatesSeen
from vla_ros.core.description.urdf import read_urdf
from vla_ros.core.errors import ConfigError
from vla_ros.core.robot import RobotSpec, load_robot

URDF = read_urdf(ARM)
JOINTS = ("shoulder", "elbow", "left_finger_joint")
SEEN = Graph(
    cameras=(
        CameraSeen("/wrist/color/image_raw", "bgr8", 640, 480, 29.8),
        CameraSeen("/wrist/color/image_raw/compressed", "", 640, 480, 29.8, compressed=True),
        CameraSeen("/top/image_raw/compressed", "", 320, 240, 15.2, compressed=True),
    ),
    states=(
        StatesSeen("/joint_states", JOINTS, (0.1, -0.2, 0.01), 100.0, 1),
        StatesSeen("/other", ("x",), (0.0,), 9.0, 1),
    ),
    commands=(
        CommandsSeen("/arm_controller/joint_trajectory", "JointTrajectory", 1, 0),
        CommandsSeen("/forward_position_controller/commands", "Float64MultiArray", 1, 0),
        CommandsSeen("/gripper_controller/commands", "Float64MultiArray", 1, 0),
    ),
    seconds=5.0,
)


def drafted(folder: Path, graph: Graph = SEEN, wishes: Wishes | None = None, urdf: str = ARM) -> RobotSpec:
    path = folder / "robot.yaml"
    path.write_text(draft(read_urdf(urdf), graph, wishes or Wishes()), encoding="utf-8")
    return load_robot(path)


def test_a_draft_loads_and_passes_its_own_check(tmp_path: Path) -> None:
    robot = drafted(tmp_path)
    assert (robot.name, robot.joint_names, robot.is_gripper.tolist()) == ("two_joints", JOINTS, [False, False, True])
    assert [(c.name, c.topic, c.width, c.compressed, c.rate_hz) for c in robot.cameras] == [
        ("wrist", "/wrist/color/image_raw", 640, False, 30.0),
        ("top", "/top/image_raw", 320, True, 15.0),
    ]
    assert robot.command.topic == "/forward_position_controller/commands" and robot.gripper_command is not None
    assert robot.workspace is not None and [link.joint for link in robot.workspace.chain] == ["shoulder", "elbow"]
    rows = [*check_urdf(robot, URDF), *check_graph(robot, SEEN)]
    assert [row for row in rows if row.state != "ok"] == []
    assert len(rows) == 3 + 1 + len(robot.cameras) + 1 + 2


def test_every_guess_is_marked(tmp_path: Path) -> None:
    text = draft(URDF, Graph(), Wishes())
    for guess in (
        "accelerations and jerks are by rule",
        "a gripper by its name",
        "no camera was seen",
        "nobody published joint",
    ):
        assert f"# a guess: {guess}" in text or f"; {guess}" in text, guess
    assert "a gripper by its name" not in draft(URDF, Graph(), Wishes(grippers=("left_finger_joint",)))


def test_a_draft_without_topics_loads(tmp_path: Path) -> None:
    assert drafted(tmp_path, Graph()).joint_names == JOINTS


def test_a_joint_without_limits_gets_them_as_a_guess(tmp_path: Path) -> None:
    urdf = ARM.replace('<limit lower="-2" upper="2.5" velocity="1.5" effort="9"/>', "")
    assert "the URDF tells no velocity; the URDF tells no range" in draft(read_urdf(urdf), Graph(), Wishes())
    assert drafted(tmp_path, urdf=urdf).joints[0].upper == pytest.approx(3.1416)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (Wishes(grippers=("finger_joint",)), "--gripper: the URDF has no moved joint 'finger_joint'; did you mean"),
        (Wishes(tool="hand"), "the URDF has no link 'hand'"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(wishes: Wishes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        draft(URDF, SEEN, wishes)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name="elbow"', 'name="elbow_joint"', "joint elbow: not in the URDF; did you mean 'elbow_joint'"),
        ('type="continuous"', 'type="revolute"', "joint elbow: kind is continuous; revolute in the URDF"),
        ('upper="2.5"', 'upper="1.5"', "joint shoulder: range -2 to 2.5 is wider than the URDF's -2 to 1.5"),
        ('velocity="1.5"', 'velocity="1"', "joint shoulder: max_velocity 1.5 is above the URDF's 1"),
        (
            '<limit lower="0" upper="0.04" velocity="0.2" effort="9"/>\n  </joint>',
            '<mimic joint="elbow"/></joint>',
            "joint left_finger_joint: follows elbow",
        ),
        ('xyz="0.4 0 0"', 'xyz="0.5 0 0"', "workspace: the last joint of chain is up to 0.1"),
    ],
)
def test_what_the_urdf_contradicts_is_a_row(tmp_path: Path, old: str, new: str, said: str) -> None:
    robot = drafted(tmp_path)
    assert old in ARM
    rows = [row for row in check_urdf(robot, read_urdf(ARM.replace(old, new, 1))) if row.state != "ok"]
    assert any(f"{row.what}: {row.said}".startswith(said) and row.fix for row in rows), rows


OUT = "commands /forward_position_controller/commands"
CAMERA, STATES = SEEN.cameras[0], SEEN.states[0]
FORWARD = SEEN.commands[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cameras": ()}, "camera wrist: nobody publishes images on /wrist/color/image_raw"),
        ({"cameras": (replace(CAMERA, rate_hz=0.0),)}, "camera wrist: no picture came"),
        ({"cameras": (replace(CAMERA, encoding="rgb8"),)}, "camera wrist: encoding is rgb8; the YAML says bgr8"),
        ({"cameras": (replace(CAMERA, width=320),)}, "camera wrist: size is 320x480; the YAML says 640x480"),
        ({"cameras": (replace(CAMERA, rate_hz=10.0),)}, "camera wrist: 10.0 pictures a second; rate_hz says 30"),
        ({"states": ()}, "joint states: nobody publishes on /joint_states"),
        ({"states": (replace(STATES, rate_hz=0.0),)}, "joint states: nothing came"),
        ({"states": (replace(STATES, names=("elbow", "x")),)}, "joint states: /joint_states lacks shoulder"),
        ({"states": (replace(STATES, stamped=False),)}, "joint states: they have no stamp"),
        ({"states": (replace(STATES, positions=(57.3, 0.0, 0.0)),)}, "joint states: outside lower and upper: shoulder"),
        ({"states": (replace(STATES, rate_hz=15.0),)}, "joint states: 15 Hz is too slow"),
        ({"states": (replace(STATES, publishers=2),)}, "joint states: 2 publishers"),
        ({"commands": ()}, f"{OUT}: nobody listens"),
        ({"commands": (replace(FORWARD, listeners=0),)}, f"{OUT}: nobody listens"),
        ({"commands": (replace(FORWARD, type="JointState"),)}, f"{OUT}: takes Joint"),
        ({"commands": (replace(FORWARD, writers=1),)}, f"{OUT}: 1 others publish"),
    ],
)
def test_what_the_graph_contradicts_is_a_row(tmp_path: Path, change: dict[str, object], said: str) -> None:
    rows = [row for row in check_graph(drafted(tmp_path), replace(SEEN, **change)) if row.state != "ok"]
    assert any(f"{row.what}: {row.said}".startswith(said) and row.fix for row in rows), rows
