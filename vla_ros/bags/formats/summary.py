"""Statistics of a stream of arrays, as they come: minimum, maximum, mean, deviation, count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Summary:
    """Of values whose first axis counts and whose others are kept. All in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._low = self._high = self._mean = self._squares = np.zeros(0)

    def add(self, values: ArrayLike) -> None:
        """(N, ...) values; the parallel form of Welford's method, which does not cancel."""
        rows: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
        mean, count = rows.mean(0), len(rows)
        squares = ((rows - mean) ** 2).sum(0)
        if not self._count:
            self._low, self._high, self._mean, self._squares = rows.min(0), rows.max(0), mean, squares
        else:
            total, off = self._count + count, mean - self._mean
            self._low, self._high = np.minimum(self._low, rows.min(0)), np.maximum(self._high, rows.max(0))
            self._squares = self._squares + squares + off**2 * self._count * count / total
            self._mean = self._mean + off * count / total
        self._count += count

    def figures(self) -> dict[str, Any]:
        """min, max, mean, std as nested lists; count as a list of one."""
        std = np.sqrt(self._squares / max(self._count, 1))
        named = {"min": self._low, "max": self._high, "mean": self._mean, "std": std}
        return {name: value.tolist() for name, value in named.items()} | {"count": [self._count]}


def image_rows(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(H, W, 3) -> (N, 3, 1, 1) in 0 to 1 of at most 32 x 32 pixels: what image statistics are taken of."""
    height, width = image.shape[:2]
    small = image[:: max(1, height // 32), :: max(1, width // 32)]
    rows: NDArray[np.float64] = small.reshape(-1, 3, 1, 1) / 255.0
    return rows
