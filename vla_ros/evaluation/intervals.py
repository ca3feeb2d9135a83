"""Differences with intervals: bootstrapped over episodes, whose frames are not independent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.evaluation.frames import SUMS

Floats = NDArray[np.float64]
DRAWS = 2000  # of the bootstrap
SQUARED = SUMS.index("moving_squared")


def bootstrap(
    rows: Floats, groups: NDArray[np.integer[Any]], statistic: Callable[[Floats], Floats]
) -> dict[str, float]:
    """A statistic of summed rows, with a 95 % interval over groups drawn with replacement.

    rows: (N, K) sums of each window. groups: (N,). statistic: (..., K) -> (...).
    """
    names, number = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, number, rows)
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)  # (DRAWS, groups)
    low, high = np.nanpercentile(statistic(times @ sums), (2.5, 97.5))
    return {name: round(float(x), 5) for name, x in (("value", statistic(sums.sum(0))), ("low", low), ("high", high))}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences with intervals, over the episodes (N,) that the windows come from."""

    groups: NDArray[np.integer[Any]]

    def decibels(self, better: Floats, worse: Floats) -> dict[str, float]:
        """By how much PSNR in the moving region is higher, of sums (N, V, 6) over the same pixels [dB]."""
        rows = np.stack([sums.sum(1)[:, SQUARED] for sums in (better, worse)], axis=1)
        return bootstrap(rows, self.groups, lambda sums: 10 * np.log10(sums[..., 1] / sums[..., 0]))

    def smaller(self, better: Floats, worse: Floats) -> dict[str, float]:
        """By how much the mean of errors (N,) is smaller [their unit]."""
        rows = np.stack([better, worse, np.ones_like(better)], axis=1)
        return bootstrap(rows, self.groups, lambda sums: (sums[..., 1] - sums[..., 0]) / sums[..., 2])

    def ratio(self, better: Floats, worse: Floats) -> dict[str, float]:
        """The mean of errors `worse` over that of `better`."""
        return bootstrap(np.stack([better, worse], axis=1), self.groups, lambda sums: sums[..., 1] / sums[..., 0])
