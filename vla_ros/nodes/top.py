"""Listens to the timing and the diagnostics of a running policy and commander, for `vla-ros top`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from vla_ros.monitor.latency import Percentiles, TimingLog
from vla_ros.monitor.top import StageLog
from vla_ros.ros.qos import EVENTS
from vla_ros.ros.timing import listen_timing

Seen = tuple[dict[str, Percentiles], dict[str, str]]


class TopNode(Node):
    """Subscriptions, and what came of them."""

    def __init__(self) -> None:
        super().__init__("vla_ros_top")
        self._log, self.stages = TimingLog(), StageLog()
        self.says: dict[str, str] = {}
        listen_timing(self, self._log)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, EVENTS)

    def seen(self) -> Seen:
        """Percentiles of the stages, and the last word of each node."""
        self.stages.add(self._log.take())
        return self.stages.stages(), self.says

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.says |= {status.name: status.message for status in message.status if status.hardware_id == "vla_ros"}


def watch(every_s: float) -> Iterator[Seen]:
    """What is seen, every `every_s` seconds, until the process is interrupted."""
    rclpy.init()
    node = TopNode()
    try:
        while rclpy.ok():
            until_s = time.monotonic() + every_s
            while (left_s := until_s - time.monotonic()) > 0:
                rclpy.spin_once(node, timeout_sec=left_s)
            yield node.seen()
    except ExternalShutdownException:
        return
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
