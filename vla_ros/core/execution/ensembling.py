"""Temporal ensembling: every chunk that speaks of a moment has a say in it."""

from __future__ import annotations

from collections import deque

import numpy as np

from vla_ros.core.execution.blending import receding_horizon
from vla_ros.core.execution.knots import Knots
from vla_ros.core.execution.limits import Positions

MAX_CHUNKS = 64


class TemporalEnsembling:
    """A `Blend` that averages chunks as ACT does (Zhao et al. 2023, arXiv 2304.13705, section IV).

    At each due moment of the newest chunk, the chunks that cover the moment are averaged with weights
    w_i = exp(-decay * i), where i = 0 is the oldest of them. What a new chunk changes fades in within one step.

    decay: ACT's m; the larger, the longer old chunks dominate.
    """

    def __init__(self, decay: float = 0.01) -> None:
        self._decay = decay
        self._chunks: deque[Knots] = deque(maxlen=MAX_CHUNKS)  # oldest first

    def __len__(self) -> int:
        """Return how many chunks are remembered."""
        return len(self._chunks)

    def __call__(
        self, old: Knots | None, new: Knots, now_ns: int, last_command: Positions | None, step_ns: int
    ) -> Knots:
        """Take `new` in; see `core.execution.blending.Blend`. Nothing in execution means nothing to remember."""
        kept = [chunk for chunk in self._chunks if old is not None and chunk.last_ns >= now_ns]
        self._chunks.clear()
        self._chunks.extend([*kept, new])
        return receding_horizon(old, self._ensemble(new), now_ns, last_command, step_ns)

    def _ensemble(self, new: Knots) -> Knots:
        covers = np.array([(c.first_ns <= new.times) & (new.times <= c.last_ns) for c in self._chunks])  # (C, H)
        age = np.cumsum(covers, axis=0) - 1  # 0: the oldest that covers the moment
        weights = covers * np.exp(-self._decay * age)
        weights /= weights.sum(axis=0)
        values = sum(
            weight[:, None] * chunk.all_at(new.times) for weight, chunk in zip(weights, self._chunks, strict=True)
        )
        return Knots(new.times, np.asarray(values))
