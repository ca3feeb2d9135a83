"""`replay` with commands: the robot repeats what it did, within its limits, from where that begins, and alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_files import write_bag
from live_nodes import Processes, World
from waiting import until

from vla_ros.core.robot import load_robot

pytestmark = pytest.mark.live

ROBOT = load_robot("ur5e_tabletop")
HOME = np.array([0.0, -1.2, 1.5, -1.8, -1.57, 0.0, 0.0])
START_NS = 10**18


class Robot:
    """Says where it is at 100 Hz and does what it is told; keeps every command."""

    def __init__(self, node: Any, position: np.ndarray) -> None:
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Float64MultiArray

        from vla_ros.ros.qos import SENSOR

        self.position, self.commands = position.copy(), []
        self._states = node.create_publisher(JointState, "/joint_states", SENSOR)
        self._timer = node.create_timer(0.01, self._tell)
        node.create_subscription(Float64MultiArray, "/joint_commands", self._take, 10)

    def _tell(self) -> None:
        from vla_ros.ros.convert import array_to_joint_state

        self._states.publish(array_to_joint_state(ROBOT.joint_names, self.position, time.time_ns()))

    def _take(self, message: Any) -> None:
        self.position = np.array(message.data)
        self.commands.append(self.position)


def swing(path: Path, change: Any = None, seconds: float = 3.0) -> Path:
    """A bag on which the robot swings its first joint, with joint states that say something else."""
    from vla_ros.ros.convert import array_to_joint_state, command_message

    said: list[Any] = []
    for k in range(round(seconds * 100)):
        values = HOME.copy()
        values[0] = 0.3 * (1 - np.cos(0.02 * k))
        if change is not None:
            change(k, values)
        at_ns = START_NS + k * 10_000_000
        said.append((at_ns, "/joint_commands", command_message("Float64MultiArray", (), values, at_ns, 10_000_000)))
        said.append((at_ns, "/joint_states", array_to_joint_state(ROBOT.joint_names, HOME + 1.0, at_ns)))
    return write_bag(path, said)


def test_the_robot_repeats_what_it_did_within_its_limits(processes: Processes, world: World, tmp_path: Path) -> None:
    robot = Robot(world.node, HOME)
    replay = processes.start("replay", bag=swing(tmp_path / "bag"), commands=True)
    assert replay.wait(60) == 0, processes.output("replay")
    sent = np.array(robot.commands)
    assert len(sent) > 250 and np.isfinite(sent).all()
    assert sent[:, 0].max() == pytest.approx(0.6, abs=0.05), "as far as it was"
    assert np.abs(np.diff(sent[:, :6], axis=0)).max() <= 3.1416 * 0.01 + 1e-6
    assert np.abs(np.diff(sent[-20:], axis=0)).max() < 1e-3, "it stands at the end"
    assert np.abs(sent[0] - HOME).max() < 0.01


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [(1, np.nan, "shoulder_lift_joint is not finite"), (0, 1e308, "shoulder_pan_joint is outside its limits")],
    ids=["nan", "1e308"],
)
def test_a_recording_that_no_robot_may_follow_is_refused_before_it_moves(
    processes: Processes, world: World, tmp_path: Path, column: int, value: float, said: str
) -> None:
    def change(k: int, values: np.ndarray) -> None:
        if k == 250:
            values[column] = value

    robot = Robot(world.node, HOME)
    replay = processes.start("replay", bag=swing(tmp_path / "bag", change), commands=True)
    assert replay.wait(60) == 2
    out = processes.output("replay")
    assert f"/joint_commands at 2.500 s: {said}" in out and "Traceback" not in out
    assert robot.commands == []


def test_a_robot_that_is_elsewhere_is_not_moved(processes: Processes, world: World, tmp_path: Path) -> None:
    robot = Robot(world.node, HOME + 0.4)
    replay = processes.start("replay", bag=swing(tmp_path / "bag"), commands=True)
    assert replay.wait(60) == 2
    assert "the robot is not where they begin" in processes.output("replay") and robot.commands == []


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_nobody_else_commands_the_robot(processes: Processes, world: World, tmp_path: Path, when: str) -> None:
    from std_msgs.msg import Float64MultiArray

    robot = Robot(world.node, HOME)
    if when == "before":
        world.node.create_publisher(Float64MultiArray, "/joint_commands", 10)
    replay = processes.start("replay", bag=swing(tmp_path / "bag", seconds=20.0), commands=True)
    if when == "meanwhile":
        until(lambda: len(robot.commands) > 100, 30, "commands")
        world.node.create_publisher(Float64MultiArray, "/joint_commands", 10)
    assert replay.wait(30) == 2
    assert "publishes on /joint_commands, too; a robot has one commander" in processes.output("replay")
    if when == "before":
        assert robot.commands == []
    else:
        assert np.abs(np.diff(np.array(robot.commands)[-20:], axis=0)).max() < 1e-3, "it came to rest"


@pytest.mark.parametrize("how", ["signal", "topic"])
def test_it_can_be_stopped(processes: Processes, world: World, tmp_path: Path, how: str) -> None:
    from std_msgs.msg import Empty

    robot, stop = Robot(world.node, HOME), world.node.create_publisher(Empty, "/stop", 1)
    replay = processes.start("replay", bag=swing(tmp_path / "bag", seconds=20.0), commands=True)
    until(lambda: len(robot.commands) > 100, 30, "commands")
    if how == "signal":
        replay.terminate()
    else:
        stop.publish(Empty())
    assert replay.wait(5) == (0 if how == "signal" else 2), processes.output("replay")
    sent = np.array(robot.commands)
    assert np.abs(np.diff(sent[-20:], axis=0)).max() < 1e-3 and np.abs(np.diff(sent, axis=0)).max() < 0.035


def test_what_cannot_be_published_is_left_out_and_named(processes: Processes, world: World, tmp_path: Path) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore
    from std_msgs.msg import String

    types, heard = get_typestore(Stores.ROS2_KILTED), []
    text, number = "std_msgs/msg/String", "std_msgs/msg/Int32"
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, kind in (("/words", text), ("/both", text), ("/both", number), ("/no name\x1b[2J", text)):
            connection = writer.add_connection(topic, kind, typestore=types)
            data = types.serialize_cdr(types.types[kind]("hello" if kind == text else 7), kind)
            for k in range(20):
                writer.write(connection, START_NS + k * 10_000_000, data)
    world.node.create_subscription(String, "/words", lambda m: heard.append(m.data), 50)
    world.node.create_subscription(String, "/both", lambda m: heard.append(f"both: {m.data}"), 50)
    replay = processes.start("replay", bag=tmp_path / "bag", topics="all")
    assert replay.wait(60) == 0, processes.output("replay")
    until(lambda: len(heard) == 20, 5, "the last word")
    assert set(heard) == {"hello"}
    out = processes.output("replay")
    assert "/both is left out: it has 2 types" in out and "/no name\\x1b[2J is left out" in out and "\x1b[2J" not in out
