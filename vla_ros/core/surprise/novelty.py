"""What came into a picture, or went from it, that neither moved there from nearby nor was imagined to.

From one picture to the next, things move by a few pixels; where an arm goes that hides and reveals more than that, a
world model imagines it. What is left is a thing that was put down, taken away, or carried off by somebody.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]

SIDE = 64  # larger pictures are looked at in as many parts along each side
REACH = 2  # parts, how far things move from one picture to the next, or are imagined beside their place
PATCH = 3  # parts along the side of the smallest thing that counts
EDGE = 2  # parts along the border where things come in and go out


def picture_of(frame: NDArray[np.uint8]) -> Map:
    """Shrink a picture (H, W, 3) to (3, h, w) in [0, 1], at most SIDE along each side."""
    height, width = frame.shape[:2]
    return cells_of(frame, min(height, SIDE), min(width, SIDE)).transpose(2, 0, 1).copy()


def came_and_went(now: Map, before: Map, imagined: Sequence[Map]) -> tuple[float, float]:
    """Return two squared distances of colours, in the patch (PATCH, PATCH) of pictures (3, h, w) that has the greatest.

    Came: of what is seen now, to the most alike within REACH in the picture before or in those imagined.
    Went: of what was seen before, to the most alike now, as far as it was imagined to stay.
    """
    came = np.minimum.reduce([farness(now, other) for other in (before, *imagined)])
    went = farness(before, now) - np.minimum.reduce([farness(before, other) for other in imagined])
    return _greatest_patch(came), _greatest_patch(np.maximum(went, 0))


def farness(one: Map, other: Map) -> Map:
    """Return (h, w) the squared distance of each colour of `one` (3, h, w) to the closest of `other` within REACH."""
    height, width = one.shape[1:]
    padded = np.pad(other, ((0, 0), (REACH, REACH), (REACH, REACH)), mode="edge")
    least = np.full((height, width), np.inf, np.float32)
    for row in range(2 * REACH + 1):
        for column in range(2 * REACH + 1):
            off = one - padded[:, row : row + height, column : column + width]
            red, green, blue = np.square(off, out=off)
            red += green  # in place: a sum over the first axis takes three times as long
            red += blue
            np.minimum(least, red, out=least)
    return least


def cells_of(frame: NDArray[np.uint8], rows: int, columns: int) -> Map:
    """Return (rows, columns, 3): the mean colours of a picture's parts, in [0, 1]."""
    if frame.shape[:2] == (rows, columns):
        return frame.astype(np.float32) / np.float32(255)
    sums = np.add.reduceat(frame.astype(np.float32), np.arange(rows) * frame.shape[0] // rows, axis=0)
    sums = np.add.reduceat(sums, np.arange(columns) * frame.shape[1] // columns, axis=1)
    counts = (np.diff(np.arange(n + 1) * side // n) for n, side in ((rows, frame.shape[0]), (columns, frame.shape[1])))
    means: Map = sums / np.multiply.outer(*counts)[..., None].astype(np.float32) / 255
    return means


def _greatest_patch(values: Map) -> float:
    inner = values[EDGE:-EDGE, EDGE:-EDGE]
    return float(np.lib.stride_tricks.sliding_window_view(inner, (PATCH, PATCH)).mean(axis=(2, 3)).max())
