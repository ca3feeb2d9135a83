"""Simulated time that stands still stops every ROS timer with it; only the wall clock can tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType, JumpHandle, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node

LOOK_S = 0.1
MOVING_LOOKS = 4  # until time that stands still while the robot moves is called so
STILL_LOOKS = 20  # while nothing moves: a simulation that is short of processor time does that for a second
SAME = 1e-4  # of a joint's position, more than a simulated one that stands still moves


def on_clock_jump(node: Node, restart: Callable[[], object]) -> JumpHandle:
    """Call `restart` after the node's clock went back or became another one. Returns the handle to own."""
    threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
    return node.get_clock().create_jump_callback(threshold, post_callback=lambda _: restart())


class ClockWatch:
    """Calls `stalled()` while the node's clock has not moved for 0.4 to 0.5 s of wall time; for 2 s where the robot has
    not moved either, since then time stands still for everything.

    seen: the newest joint positions that came, whatever their stamp; None before the first.
    """

    def __init__(
        self, node: Node, stalled: Callable[[], None], seen: Callable[[], NDArray[np.float64] | None] = lambda: None
    ) -> None:
        self._node, self._stalled, self._seen = node, stalled, seen
        self._last_ns, self._still = -1, 0
        self._place = seen()
        self._timer = node.create_timer(LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Stop watching."""
        self._node.destroy_timer(self._timer)

    def _look(self) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        self._still = self._still + 1 if now_ns == self._last_ns else 0
        self._last_ns = now_ns
        if self._still <= 1:
            self._place = self._seen()
        if self._still >= (MOVING_LOOKS if self._moved() else STILL_LOOKS):
            self._stalled()

    def _moved(self) -> bool:
        """Return whether the robot is elsewhere than when the clock was first seen to stand still."""
        before, place = self._place, self._seen()
        return before is not None and place is not None and bool((np.abs(place - before) > SAME).any())
