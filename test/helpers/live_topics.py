"""A bag's messages, published by a node in real time with stamps of now, and heard by another."""

from __future__ import annotations

import time
from typing import Any

from bag_files import Timed

from vla_ros.core.robot import RobotSpec


def publish_in_time(listener: Any, robot: RobotSpec, messages: list[Timed]) -> list[Timed]:
    """Publish as the receive times say, spinning `listener` meanwhile; returns what is no input of the robot,
    with the moments at which it was said."""
    import rclpy

    from vla_ros.ros.convert import to_time
    from vla_ros.ros.qos import LATCHED

    node, said = rclpy.create_node("robot_like"), list[Timed]()
    inputs = {robot.joint_states_topic, robot.instruction_topic, *(camera.topic for camera in robot.cameras)}
    publishers = {
        topic: node.create_publisher(kind, topic, LATCHED if topic == robot.instruction_topic else 20)
        for topic, kind in {topic: type(message) for _, topic, message in messages}.items()
    }
    deadline = time.monotonic() + 10
    while not all(publishers[topic].get_subscription_count() for topic in inputs):
        assert time.monotonic() < deadline, "the listener was not found within 10 s"
        rclpy.spin_once(listener, timeout_sec=0.02)
    ordered = sorted(messages, key=lambda m: m[0])
    shift_ns = int(node.get_clock().now().nanoseconds) - ordered[0][0]
    for receive_ns, topic, message in ordered:
        while (left_s := (receive_ns + shift_ns - node.get_clock().now().nanoseconds) / 1e9) > 0:
            rclpy.spin_once(listener, timeout_sec=left_s)
        if hasattr(message, "header"):
            stamp = message.header.stamp
            message.header.stamp = to_time(stamp.sec * 10**9 + stamp.nanosec + shift_ns)
        publishers[topic].publish(message)
        if topic not in inputs:
            said.append((receive_ns + shift_ns, topic, message))
    for _ in range(50):
        rclpy.spin_once(listener, timeout_sec=0.01)
    node.destroy_node()
    return said
