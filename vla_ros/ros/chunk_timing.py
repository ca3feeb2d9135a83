"""The timing that the policy and the commander publish for each chunk, on a host node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from vla_ros.ros.qos import EVENTS


class Log(Protocol):
    """Who takes both halves of a chunk's timing."""

    def add_policy(self, values: Mapping[str, str]) -> None:
        """Take the policy's half."""

    def add_commander(self, values: Mapping[str, str]) -> None:
        """Take the commander's half."""


def listen_timing(node: Node, log: Log) -> None:
    """Give `log` what is said on `policy/timing` and `commander/timing`."""
    for topic, take in (("policy/timing", log.add_policy), ("commander/timing", log.add_commander)):
        node.create_subscription(DiagnosticStatus, topic, _given_to(take), EVENTS)


def _given_to(take: Callable[[Mapping[str, str]], None]) -> Callable[[DiagnosticStatus], None]:
    return lambda message: take({pair.key: pair.value for pair in message.values})
