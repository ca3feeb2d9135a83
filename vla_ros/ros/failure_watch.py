"""How often work may fail before a node should stop trying."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

FAILURES, WITHIN_S = 3, 5.0


class FailureWatch:
    """Counts failures; any thread may call. most: how many within `within_s` [s] are too many."""

    def __init__(
        self, most: int = FAILURES, within_s: float = WITHIN_S, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.most, self.limit = most, f"{most} failures within {within_s:g} s"
        self._within_s, self._clock_s = within_s, clock_s
        self._failed_s: deque[float] = deque(maxlen=most)

    def failed(self) -> None:
        """Count a failure of this moment."""
        self._failed_s.append(self._clock_s())

    def clear(self) -> None:
        """Forget every failure."""
        self._failed_s.clear()

    @property
    def too_many(self) -> bool:
        """Whether the last `most` failures are all as recent as `within_s`."""
        failed_s = tuple(self._failed_s)
        return len(failed_s) == self.most and self._clock_s() - failed_s[0] < self._within_s
