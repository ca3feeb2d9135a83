"""Bags written message by message, at receive times that the test chooses."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.core.robot import RobotSpec

Timed = tuple[int, str, Any]  # time of reception [ns], topic, message


def write_bag(path: Path, messages: Iterable[Timed]) -> Path:
    """An MCAP bag of these messages, in the order of their reception."""
    from rclpy.serialization import serialize_message
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    types, connections = get_typestore(Stores.ROS2_KILTED), {}
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for receive_ns, topic, message in sorted(messages, key=lambda m: m[0]):
            if topic not in connections:
                kind = f"{type(message).__module__.split('.')[0]}/msg/{type(message).__name__}"
                connections[topic] = writer.add_connection(topic, kind, typestore=types)
            writer.write(connections[topic], receive_ns, serialize_message(message))
    return path


def picture(seed: int, height: int = 64, width: int = 64) -> np.ndarray:
    """(H, W, 3) a smooth picture that no other seed has: what video keeps."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / width * (2 + c) + y / height * 3 + seed * (0.13 + 0.07 * c)) for c in range(3)]
    return (127 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


def steady(robot: RobotSpec, seconds: float, start_ns: int = 10**18, sentence: str = "reach") -> list[Timed]:
    """What a robot says that runs as its contract has it: frame k of every camera is `picture(k)`, joint 0 moves on by
    0.1 rad/s, the command is 0.01 rad ahead of it."""
    from std_msgs.msg import String

    from vla_ros.ros.convert import array_to_joint_state, command_message
    from vla_ros.ros.images import array_to_image

    joints = len(robot.joints)
    found: list[Timed] = [(start_ns, robot.instruction_topic, String(data=sentence))]
    for k in range(int(seconds * 100)):
        stamp_ns, positions = start_ns + k * 10_000_000, np.zeros(joints)
        positions[0] = k * 0.001
        message = array_to_joint_state(robot.joint_names, positions, stamp_ns)
        found.append((stamp_ns + 100_000, robot.joint_states_topic, message))
        for spec, columns in robot.outputs:
            values = (positions + 0.01 * (np.arange(joints) == 0))[list(columns)]
            names = [robot.joint_names[i] for i in columns]
            found.append((stamp_ns, spec.topic, command_message(spec.type, names, values, stamp_ns, 10_000_000)))
    for camera in robot.cameras:
        for k in range(int(seconds * camera.rate_hz)):
            stamp_ns = start_ns + round(k * 1e9 / camera.rate_hz)
            frame = picture(k, camera.height, camera.width)
            found.append((stamp_ns + 2_000_000, camera.topic, array_to_image(frame, stamp_ns)))
    return found
