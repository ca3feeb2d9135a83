"""Statistics of episodes and of whole datasets, computed as LeRobot does, so that datasets can be merged.

Quantiles of an episode come from a histogram of 5000 bins over its range. Those of a dataset are the mean over
episodes, weighted by frames, which is not a quantile of all frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
BINS, ROOM = 5000, 1e-10
LEVELS = np.arange(256, dtype=np.float32)  # of a colour; LeRobot counts them in float32
LARGE, SMALL = 300, 150  # pixels: larger pictures are thinned out to about the latter
MIN_SAMPLES, MAX_SAMPLES = 100, 10_000  # of an episode's frames


@dataclass(frozen=True, slots=True)
class Summary:
    """Of one column. low, high, mean, std: shaped as one value. quantiles: by name. count: frames."""

    low: Floats
    high: Floats
    mean: Floats
    std: Floats
    quantiles: Mapping[str, Floats]
    count: int

    def figures(self) -> dict[str, Any]:
        """Return it as LeRobot writes it: nested lists of floats, and count as a list of one."""
        named = {"min": self.low, "max": self.high, "mean": self.mean, "std": self.std}
        return _plain(named) | {"count": [self.count]} | _plain(self.quantiles)


def of_rows(rows: Floats) -> Summary:
    """Summarise an episode's values (N, D)."""
    each = [_column(values, np.ones(len(values))) for values in rows.T]
    return _joined(each, len(rows), (rows.shape[1],), 1.0)


def of_pictures(levels: Sequence[NDArray[np.integer[Any]]]) -> Summary:
    """Summarise an episode's frames as counted by `levels_of`, in 0 to 1: (3, 1, 1). Long episodes are sampled."""
    chosen = sampled(len(levels))
    counts: NDArray[np.int64] = np.stack([levels[k] for k in chosen]).sum(axis=0, dtype=np.int64)
    each = []
    for colour in counts:
        there = np.flatnonzero(colour)
        each.append(_column(LEVELS[there], colour[there].astype(np.float64)))
    return _joined(each, len(chosen), (3, 1, 1), 255.0)


def together(parts: Sequence[Summary]) -> Summary:
    """Summarise a dataset from the summaries of its episodes."""
    counts = np.array([part.count for part in parts], dtype=np.float64)
    weights = counts / counts.sum()

    def weighted(values: Sequence[Floats]) -> Floats:
        return np.tensordot(weights, np.stack(values).astype(np.float64), axes=1)

    mean = weighted([part.mean for part in parts])
    variance = weighted([part.std.astype(np.float64) ** 2 + (part.mean - mean) ** 2 for part in parts])
    return Summary(
        np.min([part.low for part in parts], axis=0),
        np.max([part.high for part in parts], axis=0),
        mean,
        np.sqrt(variance),
        {name: weighted([part.quantiles[name] for part in parts]) for name in QUANTILES},
        int(counts.sum()),
    )


def levels_of(image: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return (3, 256) for (H, W, 3): how often each level of each colour occurs."""
    height, width = image.shape[:2]
    if max(height, width) >= LARGE:
        every = max(width if width > height else height, SMALL) // SMALL
        image = image[::every, ::every]
    return np.stack([np.bincount(image[..., c].ravel(), minlength=256) for c in range(3)]).astype(np.uint32)


def sampled(length: int) -> list[int]:
    """Return the frames of an episode that count for the statistics of pictures: all, if it is short."""
    count = max(min(length, MIN_SAMPLES), min(int(length**0.75), MAX_SAMPLES))
    return [int(frame) for frame in np.round(np.linspace(0, length - 1, count))]


def _plain(named: Mapping[str, Floats]) -> dict[str, Any]:
    return {name: value.astype(np.float64).tolist() for name, value in named.items()}


def _column(values: Floats, counts: Floats) -> dict[str, float]:
    """Summarise values that occur `counts` times."""
    total, exact = counts.sum(), values.astype(np.float64)
    mean = float(exact @ counts / total)
    std = float(np.sqrt((exact - mean) ** 2 @ counts / total))
    found = {"low": float(values.min()), "high": float(values.max()), "mean": mean, "std": std}
    if total < 2:
        return found | dict.fromkeys(QUANTILES, mean)
    edges = np.linspace(values.min() - ROOM, values.max() + ROOM, BINS + 1)
    filled = np.cumsum(np.histogram(values, bins=edges, weights=counts)[0])
    return found | {name: _quantile(edges, filled, share * total) for name, share in QUANTILES.items()}


def _quantile(edges: Floats, filled: Floats, target: float) -> float:
    """Return where `target` values lie below, evenly spread in their bin; in the first bin its lower edge."""
    place = int(np.searchsorted(filled, target))
    if place == 0:
        return float(edges[0])
    if place >= len(filled):
        return float(edges[-1])
    within = (target - filled[place - 1]) / (filled[place] - filled[place - 1])
    return float(edges[place] + within * (edges[place + 1] - edges[place]))


def _joined(each: Sequence[dict[str, float]], count: int, shape: tuple[int, ...], unit: float) -> Summary:
    found = {name: np.array([column[name] for column in each]).reshape(shape) / unit for name in each[0]}
    quantiles = {name: found[name] for name in QUANTILES}
    return Summary(found["low"], found["high"], found["mean"], found["std"], quantiles, count)
