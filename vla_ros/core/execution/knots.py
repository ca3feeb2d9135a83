"""Positions at moments, and straight lines between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.types import ActionChunk

SAME = 1e-6  # positions closer than that differ by the rounding of float32 chunks at the most


@dataclass(frozen=True, slots=True)
class Knots:
    """times: (K,) int64, strictly rising [ns]. values: (K, A) float64."""

    times: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, chunk: ActionChunk) -> Knots:
        """Return the knots of a chunk: its actions at their due times."""
        return cls(chunk.due_ns, chunk.actions.astype(np.float64))

    @property
    def first_ns(self) -> int:
        """The first moment [ns]."""
        return int(self.times[0])

    @property
    def last_ns(self) -> int:
        """The last moment [ns]."""
        return int(self.times[-1])

    def covers(self, now_ns: int) -> bool:
        """Return whether a moment lies between the first and the last knot."""
        return self.first_ns <= now_ns <= self.last_ns

    def at(self, now_ns: int) -> NDArray[np.float64]:
        """Return (A,) the position at a moment; before the first and after the last knot, theirs."""
        last = len(self.times) - 1
        after = min(max(int(self.times.searchsorted(now_ns, side="right")), min(last, 1)), last)
        start, end = int(self.times[after - 1]), int(self.times[after])
        weight = min(max((now_ns - start) / (end - start), 0.0), 1.0) if last else 1.0
        position: NDArray[np.float64] = self.values[after - 1] * (1.0 - weight) + self.values[after] * weight
        return position

    def all_at(self, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (T, A) positions at (T,) moments, as `at` gives them."""
        if len(self.times) == 1:
            return np.repeat(self.values, len(times), axis=0)
        after = np.minimum(np.maximum(self.times.searchsorted(times, side="right"), 1), len(self.times) - 1)
        start, end = self.times[after - 1], self.times[after]
        weight = np.minimum(np.maximum((times - start) / (end - start), 0.0), 1.0)[:, None]
        lines: NDArray[np.float64] = self.values[after - 1] * (1.0 - weight) + self.values[after] * weight
        return lines

    def between(self, start_ns: int, end_ns: int | None = None) -> NDArray[np.int64]:
        """Return the moments of the knots after `start_ns` and before `end_ns`, both excluded."""
        inside = self.times > start_ns
        return self.times[inside if end_ns is None else inside & (self.times < end_ns)]

    def after(self, past: Knots | None, since_ns: int) -> Knots:
        """Return these knots preceded by the part of `past` before the first of them, back to `since_ns`.

        A past that does not lead to where these begin is left out: a jump has no shape that could be smoothed.
        """
        if past is None or past.first_ns >= self.first_ns or not self._goes_on(past):
            return self
        times = past.between(since_ns, self.first_ns)
        return Knots(np.concatenate([times, self.times]), np.concatenate([past.all_at(times), self.values]))

    def _goes_on(self, past: Knots) -> bool:
        return bool((np.abs(past.at(self.first_ns) - self.values[0]) <= SAME).all())


def distinct(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return moments in order, each once. Ten times as fast as numpy's `unique`, which imports half of numpy first."""
    ordered = np.sort(times)
    return ordered[np.append(True, ordered[1:] > ordered[:-1])] if len(ordered) else ordered
