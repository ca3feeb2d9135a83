"""The fixed step behind moments that were rounded on their way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_ros.core.types import NS_PER_S

MS_NS = 1_000_000
FINE_NS = 1000  # of what went through seconds in floating point


def even(times_ns: Sequence[int]) -> tuple[int, int] | None:
    """Return (first, step) [ns] of at least two moments that rise evenly; None if they do not.

    Times in whole ms may have been rounded to them, up, down or to the nearest: 0.033, 0.067, 0.1 s are 30 a second.
    Of all steps that explain them, one of so many a second is taken, and a start that is a multiple of it.
    """
    times = np.array(times_ns, dtype=np.int64)
    steps = np.diff(times)
    if steps.min() <= 0:
        return None
    if (steps == steps[0]).all():
        return int(times[0]), int(steps[0])
    rounding = MS_NS if not (times % MS_NS).any() else FINE_NS
    number = np.arange(len(times))
    before, after = np.triu_indices(len(times), 1)
    apart, count = (times[after] - times[before]).astype(np.float64), number[after] - number[before]
    least, most = float(((apart - rounding) / count).max()), float(((apart + rounding) / count).min())
    if least > most or most <= 0:
        return None
    step = _simple((least + most) / 2, max(least, 1.0), most)
    left = times - number * step  # what the start would be by each of them
    start = round(times[0] / step) * step
    if not left.max() - rounding <= start <= left.min() + rounding:
        start = max((left.max() + left.min()) / 2, 0.0)
    return round(start), round(step)


def _simple(middle: float, least: float, most: float) -> float:
    """Return a step from `least` to `most` that fits into a second a whole number of times; else `middle`."""
    rate = max(round(NS_PER_S / middle), 1)
    step = NS_PER_S / rate
    return step if least <= step <= most else middle
