"""Which topics a replay publishes, and which of a bag's commands a robot may repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_files import write_bag

from vla_ros.bags.reading.reader import BagError, open_bag
from vla_ros.bags.recorded_commands import recorded_motion
from vla_ros.bags.topics import replayed_topics
from vla_ros.core.robot import RobotSpec, load_robot
from vla_ros.ros.convert import array_to_joint_state, command_message

ROBOT = load_robot("ur5e_tabletop")
NS = 10_000_000


def commands(path: Path, *values: Any) -> Path:
    said: list[Any] = [(NS, "/joint_states", array_to_joint_state(ROBOT.joint_names, np.zeros(7), 1))]
    for k, one in enumerate(values):
        message = command_message("Float64MultiArray", (), one, 0, NS) if isinstance(one, list) else one
        said.append((NS * (k + 1), "/joint_commands", message))
    return write_bag(path, said)


def test_recorded_joint_states_are_not_published_beside_commands(tmp_path: Path) -> None:
    with open_bag(commands(tmp_path / "bag", [0.0] * 7)) as bag:
        assert replayed_topics(bag, ROBOT, [], commands=False) == {"/joint_states"}
        assert replayed_topics(bag, ROBOT, [], commands=True) == {"/joint_commands"}
        assert replayed_topics(bag, ROBOT, ["all"], commands=True) == {"/joint_commands"}
        with pytest.raises(BagError, match="/joint_states is not replayed beside commands"):
            replayed_topics(bag, ROBOT, ["/joint_states", "/joint_commands"], commands=True)


def test_all_leaves_out_what_would_move_another_robot(tmp_path: Path) -> None:
    """Its contract does not know these topics, so nothing would limit them; a person may still name them."""
    other, chunk = "/other_arm/commands", "/action_chunk"
    said: list[Any] = [(NS, topic, command_message("JointTrajectory", ["a"], [0.0], 0, NS)) for topic in (other, chunk)]
    with open_bag(write_bag(tmp_path / "bag", said)) as bag:
        assert replayed_topics(bag, ROBOT, ["all"], commands=False) == {chunk}
        assert replayed_topics(bag, ROBOT, [other], commands=False) == {other}


def test_commands_become_a_motion(tmp_path: Path) -> None:
    with open_bag(commands(tmp_path / "bag", [0.0] * 7, [0.01] * 7)) as bag:
        motion = recorded_motion(bag, ROBOT)
    assert (motion.start_ns, motion.end_ns, motion.problem(1.0)) == (NS, 2 * NS, "")
    assert np.allclose(motion.at(NS + NS // 2), 0.005)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([0.0] * 3, r"/joint_commands at 0.010 s: the command must hold 7 numbers, got 3"),
        (array_to_joint_state(["a"], [0.0], 1), "/joint_commands has several types|is sensor_msgs/msg/JointState"),
    ],
    ids=["too few", "another type"],
)
def test_what_is_no_command_is_named(tmp_path: Path, wrong: Any, said: str) -> None:
    if isinstance(wrong, list):
        path = commands(tmp_path / "bag", [0.0] * 7, wrong)
    else:
        path = commands(tmp_path / "bag", wrong)
    with open_bag(path) as bag, pytest.raises(BagError, match=said):
        recorded_motion(bag, ROBOT)


def test_a_bag_without_commands_says_so(tmp_path: Path) -> None:
    with open_bag(commands(tmp_path / "bag")) as bag, pytest.raises(BagError, match="holds no commands for shoulder"):
        recorded_motion(bag, ROBOT)


def test_velocities_are_not_replayed(tmp_path: Path) -> None:
    from dataclasses import replace

    robot: RobotSpec = replace(ROBOT, command=replace(ROBOT.command, interface="velocity"))
    with open_bag(commands(tmp_path / "bag", [0.0] * 7)) as bag, pytest.raises(BagError, match="carries velocities"):
        recorded_motion(bag, robot)


@pytest.mark.parametrize("other", ["--loop", "--graph"])
def test_commands_exclude_a_loop_and_a_second_commander(tmp_path: Path, other: str, capsys: Any) -> None:
    from vla_ros.cli.main import main

    path = commands(tmp_path / "bag", [0.0] * 7)
    assert main(["replay", str(path), "--commands", other]) == 2
    assert f"--commands cannot be used with {other}" in capsys.readouterr().err
