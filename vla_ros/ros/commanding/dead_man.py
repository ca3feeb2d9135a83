"""A sign of life without which no armed robot goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

TOPIC = "alive"  # std_msgs/Empty, any quality of service


class DeadMan:
    """Says when the sign of life is overdue. topic: where it is expected, for messages. limit_s: 0 expects none."""

    def __init__(self, topic: str, limit_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._topic, self._limit_s, self._clock_s = topic, limit_s, clock_s
        self._heard_s = -math.inf

    def heard(self) -> None:
        """Note a sign of life."""
        self._heard_s = self._clock_s()

    def overdue(self) -> str | None:
        """Return why the robot must not move, or None if a sign of life came in time or none is expected."""
        silent_s = self._clock_s() - self._heard_s
        if self._limit_s <= 0 or silent_s <= self._limit_s:
            return None
        since = f"for {silent_s:.2f} s" if math.isfinite(silent_s) else "yet"
        return f"no sign of life on {self._topic} {since} (guard.dead_man_s is {self._limit_s:g} s)"
