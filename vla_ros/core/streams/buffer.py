"""Stamped values of one stream in order, bounded and thread-safe. Nothing here reads a clock."""

from __future__ import annotations

import bisect
import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class StreamBuffer(Generic[T]):
    """The newest values of one stream, by stamp. An older or equal stamp is refused.

    capacity: how many values are kept.
    min_gap_ns: values that follow each other closer than this replace one another, so that a flood
        cannot push the history out; the newest value is always kept.
    """

    def __init__(self, capacity: int, min_gap_ns: int = 0) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be >= 1, got {capacity}")
        self._capacity = capacity
        self._min_gap_ns = min_gap_ns
        self._stamps: list[int] = []
        self._values: list[T] = []
        self._lock = threading.Lock()

    def push(self, stamp_ns: int, value: T) -> bool:
        """Keep `value`, drop the oldest beyond the capacity. False for a stamp that is not newer than the newest."""
        with self._lock:
            if self._stamps and stamp_ns <= self._stamps[-1]:
                return False
            if len(self._stamps) > 1 and self._stamps[-1] - self._stamps[-2] < self._min_gap_ns:
                del self._stamps[-1], self._values[-1]
            self._stamps.append(stamp_ns)
            self._values.append(value)
            del self._stamps[: -self._capacity], self._values[: -self._capacity]
            return True

    def clear(self) -> None:
        """Forget everything: the next stamp may be any."""
        with self._lock:
            self._stamps.clear()
            self._values.clear()

    def drop_after(self, stamp_ns: int) -> int:
        """Forget the values newer than `stamp_ns`; returns how many they were."""
        with self._lock:
            keep = bisect.bisect_right(self._stamps, stamp_ns)
            dropped = len(self._stamps) - keep
            del self._stamps[keep:], self._values[keep:]
            return dropped

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        """The newest stamp [ns]; None while empty."""
        with self._lock:
            return self._stamps[-1] if self._stamps else None

    def nearest(self, stamp_ns: int) -> tuple[int, T] | None:
        """Return the stamp and value nearest to `stamp_ns` (the older of two equally near); None while empty."""
        with self._lock:
            if not self._stamps:
                return None
            after = bisect.bisect_left(self._stamps, stamp_ns)
            around = range(max(after - 1, 0), min(after + 1, len(self._stamps)))
            best = min(around, key=lambda i: abs(self._stamps[i] - stamp_ns))
            return self._stamps[best], self._values[best]

    def at_or_before(self, stamp_ns: int) -> tuple[int, T] | None:
        """Return the newest value that is not newer than `stamp_ns`; the oldest of all if every one is newer."""
        with self._lock:
            if not self._stamps:
                return None
            index = max(bisect.bisect_right(self._stamps, stamp_ns) - 1, 0)
            return self._stamps[index], self._values[index]

    def between(self, start_ns: int, end_ns: int) -> list[tuple[int, T]]:
        """Return what held from `start_ns` to `end_ns`: the value in force at the start, if kept, and those since."""
        with self._lock:
            first = max(bisect.bisect_right(self._stamps, start_ns) - 1, 0)
            last = bisect.bisect_right(self._stamps, end_ns)
            return list(zip(self._stamps[first:last], self._values[first:last], strict=True))
