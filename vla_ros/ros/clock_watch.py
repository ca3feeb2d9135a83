"""Simulated time that stands still stops every ROS timer with it; only the wall clock can tell."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

STILL_S, LOOKS = 0.4, 4


class ClockWatch:
    """Calls `stalled()` while the node's clock has not moved for 0.4 to 0.5 s of wall time."""

    def __init__(self, node: Node, stalled: Callable[[], None]) -> None:
        self._node, self._stalled = node, stalled
        self._last_ns, self._still = -1, 0
        self._timer = node.create_timer(STILL_S / LOOKS, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Watch no longer."""
        self._node.destroy_timer(self._timer)

    def _look(self) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        self._still = self._still + 1 if now_ns == self._last_ns else 0
        self._last_ns = now_ns
        if self._still >= LOOKS:
            self._stalled()
