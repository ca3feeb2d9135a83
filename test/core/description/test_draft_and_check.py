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


SHOULDER = '<limit lower="-2" upper="2.5" velocity="1.5" effort="9"/>'


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("", "no lower and upper"),
        ('<limit velocity="1"/>', "no lower and upper"),
        ('<limit lower="0" upper="0" velocity="1"/>', "a range of 0 to 0"),
        ('<limit lower="1" upper="-1" velocity="1"/>', "a range of 1 to -1"),
    ],
)
def test_no_range_is_made_up(limit: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"joint 'shoulder' \(revolute\): the URDF gives {said}; correct its"):
        draft(read_urdf(ARM.replace(SHOULDER, limit)), Graph(), Wishes())


def test_a_limit_that_is_left_out_is_zero_and_a_velocity_of_zero_is_none(tmp_path: Path) -> None:
    urdf = ARM.replace(SHOULDER, '<limit upper="2.5" velocity="0"/>')
    joint = drafted(tmp_path, urdf=urdf).joints[0]
    assert (joint.lower, joint.upper, joint.max_velocity) == (0.0, 2.5, 1.0)
    assert [row.state for row in check_urdf(drafted(tmp_path, urdf=urdf), read_urdf(urdf))] == ["ok"] * 4


NAMES = ["[a]", "yes", "1", "1e3", "a, b", "#", "a: b", "~", "a\nname: b", "\u00e4", "it's"]
NAMES += ["a, kind: revolute, lower: -9, upper: 9, max_velocity: 9, max_acceleration: 9, max_jerk: 9} #"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name_whatever_yaml_would_make_of_it(tmp_path: Path, name: str) -> None:
    """/robot_description comes from anyone on the network: a name must not set a limit."""
    escaped = name.replace("\n", "&#10;")
    urdf = ARM.replace('name="shoulder"', f'name="{escaped}"').replace('name="two joints"', f'name="{escaped}"')
    robot = drafted(tmp_path, Graph(), urdf=urdf)
    assert robot.joints[0].name == name
    assert (robot.joints[0].lower, robot.joints[0].upper, len(robot.joints)) == (-2.0, 2.5, 3)


def listening(*topics: tuple[str, str]) -> Graph:
    return replace(SEEN, commands=tuple(CommandsSeen(topic, kind, 1, 0) for topic, kind in topics))


ARRAY, TRAJECTORY = "Float64MultiArray", "JointTrajectory"


@pytest.mark.parametrize(
    ("graph", "topic", "interface"),
    [
        (listening(("/a_effort_controller/commands", ARRAY), ("/b/commands", ARRAY)), "/b/commands", "position"),
        (listening(("/a_velocity_controller/commands", ARRAY)), "/a_velocity_controller/commands", "velocity"),
        (listening(("/a_velocity/commands", ARRAY), ("/b/trajectory", TRAJECTORY)), "/b/trajectory", "position"),
        (listening(("/joint_states", "JointState"), ("/z/trajectory", TRAJECTORY)), "/z/trajectory", "position"),
        (listening(("/joint_states", "JointState")), "/forward_position_controller/commands", "position"),
        (listening(("/a_effort/commands", ARRAY)), "/forward_position_controller/commands", "position"),
    ],
)
def test_positions_never_go_to_what_takes_something_else(
    tmp_path: Path, graph: Graph, topic: str, interface: str
) -> None:
    command = drafted(tmp_path, graph).command
    assert (command.topic, command.interface) == (topic, interface)
    as_position = replace(drafted(tmp_path, graph), command=replace(command, interface="position"))
    rows = {row.what: row for row in check_graph(as_position, graph)}
    assert (interface == "position") or "by its name it takes velocity" in rows[f"commands {topic}"].said


def test_a_camera_that_leaves_size_and_encoding_open_is_fine(tmp_path: Path) -> None:
    robot = drafted(tmp_path)
    cameras = tuple(replace(camera, width=0, height=0, encoding="any") for camera in robot.cameras)
    assert all(row.state == "ok" for row in check_graph(replace(robot, cameras=cameras), SEEN))


def test_depth_is_no_camera_of_a_draft_and_a_wrong_row_of_a_check(tmp_path: Path) -> None:
    depth = CameraSeen("/depth/image_raw", refused="image encoding '16UC1' is a depth picture")
    robot = drafted(tmp_path, replace(SEEN, cameras=(depth, *SEEN.cameras)))
    assert robot.camera_names == ("wrist", "top")
    robot = replace(robot, cameras=(replace(robot.cameras[0], topic="/depth/image_raw"),))
    (row,) = [row for row in check_graph(robot, Graph(cameras=(depth,))) if row.what.startswith("camera")]
    assert row.state == "wrong" and "depth picture" in row.said


def test_joints_that_nobody_measures_are_left_out_and_named() -> None:
    graph = replace(SEEN, states=(StatesSeen("/joint_states", JOINTS[:2], (0.0, 0.0), 100.0, 1),))
    assert "# Left out, as no joint states name them: left_finger_joint" in draft(URDF, graph, Wishes())
    with pytest.raises(ConfigError, match="--gripper: no joint states name 'left_finger_joint'; they name elbow"):
        draft(URDF, graph, Wishes(grippers=("left_finger_joint",)))


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
