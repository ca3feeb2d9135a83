"""Reads the commands in a bag, to check and replay them."""

from __future__ import annotations

import numpy as np

from vla_ros.bags.reading.errors import BagError
from vla_ros.bags.reading.reader import Bag, decode, split_topics
from vla_ros.bags.topics import command_topics
from vla_ros.core.errors import ConfigError, MessageError
from vla_ros.core.execution.recorded_motion import CommandStream, RecordedMotion
from vla_ros.core.printable import printable
from vla_ros.core.robot import RobotSpec
from vla_ros.core.robot_parts import CommandSpec
from vla_ros.core.types import NS_PER_S
from vla_ros.ros.convert import COMMAND_TYPES, command_to_array, type_name


def recorded_motion(bag: Bag, robot: RobotSpec) -> RecordedMotion:
    """Return every command on an open bag that the robot's contract names.

    Raise BagError with the topic and time of the first message that is no such command.
    """
    try:
        named = zip(command_topics(robot), robot.outputs, strict=True)
        return RecordedMotion(robot, [_stream(bag, robot, topic, *output) for topic, output in named])
    except ConfigError as error:
        raise BagError(f"{bag.path}: {error}") from error


def _stream(bag: Bag, robot: RobotSpec, topic: str, output: CommandSpec, columns: tuple[int, ...]) -> CommandStream:
    expected = type_name(COMMAND_TYPES[output.type]())
    names = [robot.joint_names[column] for column in columns]
    if topic in split_topics(bag.topics):
        raise BagError(f"{bag.path}: {topic} has several types; a command topic has one")
    times, values = [], []
    for recorded in bag.messages([topic]):
        at_s = (recorded.receive_ns - bag.start_ns) / NS_PER_S
        if recorded.type != expected:
            raise BagError(f"{bag.path}: {topic} is {printable(recorded.type, 80)}; the contract says {expected}")
        try:
            values.append(command_to_array(decode(recorded), names))
        except (MessageError, BagError) as error:
            raise BagError(f"{bag.path}: {topic} at {at_s:.3f} s: {error}") from error
        times.append(recorded.receive_ns)
    stacked = np.array(values, dtype=np.float64).reshape(len(times), len(columns))
    return CommandStream(topic, tuple(columns), np.array(times, dtype=np.int64), stacked)
