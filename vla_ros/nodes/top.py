"""Listen to the timing and the diagnostics of a running policy and commander, for `vla-ros top`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from vla_ros.core.text import shorten
from vla_ros.monitor.latency import Percentiles, TimingLog
from vla_ros.monitor.top import StageLog
from vla_ros.ros.chunk_timing import listen_timing
from vla_ros.ros.diagnostics import node_of
from vla_ros.ros.process.starting import start_ros
from vla_ros.ros.qos import EVENTS

MAX_NODES = 64  # anybody may publish on /diagnostics
Seen = tuple[dict[str, Percentiles], dict[str, str]]


class TopNode(Node):
    """Listens, and keeps what it heard."""

    def __init__(self) -> None:
        super().__init__("vla_ros_top")
        self._log, self.stages = TimingLog(), StageLog()
        self.says: dict[str, str] = {}
        listen_timing(self, self._log)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, EVENTS)

    def seen(self) -> Seen:
        """Return percentiles of the stages, and the last word of each node."""
        self.stages.add(self._log.take())
        return self.stages.stages(), self.says

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name = node_of(status)
            if name is not None and (name in self.says or len(self.says) < MAX_NODES):
                self.says[name] = shorten(status.message)


def watch(every_s: float) -> Iterator[Seen]:
    """Yield what is seen, every `every_s` seconds, until the process is interrupted."""
    start_ros()
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
