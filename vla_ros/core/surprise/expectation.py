"""What was expected, kept until the moment that it speaks of, and what came then. Bounded; any thread may call."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.types import ActionChunk, Observation, Prediction


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a world model expects of one observation. chunk: the plan it was told to imagine; None in video mode."""

    observation: Observation
    prediction: Prediction
    chunk: ActionChunk | None = None

    @property
    def due_ns(self) -> NDArray[np.int64]:
        """(F,) the moments it speaks of [ns]."""
        return self.prediction.due_ns


class Recent:
    """The last observations, found again by their stamps."""

    def __init__(self, limit: int, tolerance_ns: int) -> None:
        self._kept: deque[Observation] = deque(maxlen=limit)
        self._tolerance_ns = tolerance_ns
        self._lock = threading.Lock()

    def add(self, observation: Observation) -> None:
        """Take the newest. One that is older than the last begins anew: the clock went back."""
        with self._lock:
            if self._kept and observation.stamp_ns < self._kept[-1].stamp_ns:
                self._kept.clear()
            self._kept.append(observation)

    def clear(self) -> None:
        """Clear all observations."""
        with self._lock:
            self._kept.clear()

    @property
    def newest(self) -> Observation | None:
        """The last one that came."""
        with self._lock:
            return self._kept[-1] if self._kept else None

    def at(self, stamp_ns: int) -> Observation | None:
        """Return the observation nearest to a moment, if one is within the tolerance."""
        with self._lock:
            best = min(self._kept, key=lambda seen: abs(seen.stamp_ns - stamp_ns), default=None)
        return best if best is not None and abs(best.stamp_ns - stamp_ns) <= self._tolerance_ns else None


def what_came(expectation: Expectation, recent: Recent) -> Observation | None:
    """Return the frames that came at the moments of an expectation, oldest first; None if one is missing (yet)."""
    found = [recent.at(int(due_ns)) for due_ns in expectation.due_ns]
    seen = [item for item in found if item is not None]
    if len(seen) < len(found):
        return None
    images = {name: np.stack([item.images[name][-1] for item in seen]) for name in seen[0].images}
    return replace(seen[-1], images=images, state=np.stack([item.state[-1] for item in seen]))
