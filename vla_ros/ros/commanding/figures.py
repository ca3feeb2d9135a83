"""The commander's own times: its control period, and how long a chunk takes to become commands."""

from __future__ import annotations

import math
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from vla_ros.core.execution.commander import ChunkTiming
from vla_ros.core.timing import CpuMeter, LatencyStats
from vla_ros.core.types import NS_PER_S
from vla_ros.ros.diagnostics import OK, Report, status
from vla_ros.ros.qos import EVENTS


class Figures:
    """Measures, and publishes each chunk's timing on `~/timing`. ticked_s: the last control period [steady clock]."""

    def __init__(self, node: Node) -> None:
        self._node, self._load = node, CpuMeter()
        self._latency = {name: LatencyStats() for name in ("chunk_ms", "first_command_ms", "period_ms")}
        self.ticked_s = math.nan
        self._timing: Any = node.create_publisher(DiagnosticStatus, "~/timing", EVENTS)

    def begin(self) -> None:
        """Forget the last control period: the loop starts anew."""
        self.ticked_s = math.nan

    def period(self) -> None:
        """Note that a control period begins now."""
        before_s, self.ticked_s = self.ticked_s, time.monotonic()
        if not math.isnan(before_s):
            self._latency["period_ms"].add_ns(round((self.ticked_s - before_s) * NS_PER_S))

    def chunk(self, timing: ChunkTiming) -> None:
        """Note and publish how long a chunk took."""
        self._latency["chunk_ms"].add_ns(round(timing.chunk_ms * 1e6))
        self._latency["first_command_ms"].add_ns(round(timing.first_command_ms * 1e6))
        values = {
            "stamp_ns": timing.stamp_ns,
            "chunk_ms": timing.chunk_ms,
            "first_command_ms": timing.first_command_ms,
        }
        self._timing.publish(status(self._node.get_name(), Report(OK, "", values)))

    def values(self) -> dict[str, object]:
        """Return the figures for diagnostics."""
        found: dict[str, object] = {"cpu percent": 100 * self._load.share()}
        for name, stats in self._latency.items():
            found |= {f"{name} p50": stats.quantile_ms(0.5), f"{name} p99": stats.quantile_ms(0.99)}
        return found

    def close(self) -> None:
        """Publish nothing more."""
        self._node.destroy_publisher(self._timing)
