"""Signs that something is not as usual, each a few numbers of what happened; `score` says how unusual they are.

Where a world model imagines that nothing moves, it is right to a hair; where it imagines motion, its pictures are
blurred. So an error counts by how much motion was imagined at its place: a table of the largest error at each amount.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.surprise.novelty import cells_of

Map = NDArray[np.float32]
Vector = NDArray[np.float64]
Reading = Mapping[str, Vector]  # by the name of the sign

KNOTS = np.logspace(-3, 2, 16)  # amounts of imagined motion, squared, in latents of unit variance
BINS = len(KNOTS) + 1
GRID = 32  # parts of a picture along each side
ALIKE = 0.15  # of the range of a colour: what varies less over all normal runs always looks alike
NEAR = 1  # cells around one count as well: where an arm will be next to is not certain to a cell


def picture_signs(came: Map, samples: Map, now: Map) -> tuple[Vector, Vector]:
    """Compare what came (C, h, w) with what was imagined (K, C, h, w) from `now` (C, h, w).

    Two tables by imagined motion (BINS,): the largest error of a cell, and the mean error of the whole picture. The
    first tells of an object, the second of a camera or a lamp.
    """
    error, motion = ((came - samples.mean(axis=0)) ** 2).sum(axis=0), imagined_motion(samples, now)
    whole = np.zeros(BINS)
    whole[int(np.digitize(motion.mean(), KNOTS))] = error.mean()
    return _by_motion(error, motion), whole


def imagined_motion(samples: Map, now: Map) -> Map:
    """Return (h, w): how much any sample (..., C, h, w) departs from `now` (C, h, w), at a place or beside it."""
    change = ((samples - now) ** 2).sum(axis=-3)
    return _around(change.reshape(-1, *change.shape[-2:]).max(axis=0))


def _by_motion(error: Map, motion: Map) -> Vector:
    """Return (BINS,): the largest error (h, w) at each amount of imagined motion."""
    worst = np.zeros(BINS)
    np.maximum.at(worst, np.digitize(motion, KNOTS).ravel(), error.ravel())
    return worst


def _around(values: Map) -> Map:
    """Return (h, w) the largest of each cell and its neighbours."""
    padded = np.pad(values, NEAR, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * NEAR + 1, 2 * NEAR + 1))
    largest: Map = windows.max(axis=(2, 3))
    return largest


def appearance(frame: NDArray[np.uint8]) -> Vector:
    """Return (2 * 3 GRID^2,) the colours of a picture's parts and their negatives.

    The largest of both over normal runs bound what was ever seen there.
    """
    rows, columns = (min(side, GRID) for side in frame.shape[:2])
    colours = cells_of(frame, rows, columns).ravel().astype(np.float64)
    return np.concatenate([colours, -colours]).round(4)


def beyond_appearance(seen: Vector, usual: Vector) -> float:
    """Return the mean excess of colour over those parts of a picture that always look alike in normal runs.

    Such are the table and the gripper in the wrist camera. After a knocked camera or a failed lamp they look different.
    """
    half = len(usual) // 2
    over = np.maximum(seen - usual, 0)
    alike = (usual[:half] + usual[half:]).reshape(-1, 3).max(axis=1) < ALIKE
    excess = np.maximum(over[:half], over[half:]).reshape(-1, 3).max(axis=1)
    return float(excess[alike].mean()) if alike.any() else 0.0


def outside(measured: Vector, commands: Vector) -> Vector:
    """Return (2 D,) how far joints (D,) lie above all commands (N, D) of a while, then how far below.

    Dead time and the timing of commands count for nothing; a joint that does not follow counts.
    """
    above, below = measured - commands.max(axis=0), commands.min(axis=0) - measured
    return np.concatenate([np.maximum(above, 0), np.maximum(below, 0)])


def inverse_error(inferred: Vector, commanded: Vector) -> Vector:
    """Return (D,) the error of the inferred actions (F, D) against the commanded ones (F, D), over all pictures."""
    found: Vector = np.abs((inferred - commanded).mean(axis=0))
    return found


class Stillness:
    """How far the arm has come since a camera's pixels last changed: a driver that repeats its last frame."""

    def __init__(self) -> None:
        self._frame: NDArray[np.uint8] | None = None
        self._state: NDArray[np.float32] | None = None
        self._travel = 0.0

    def add(self, frame: NDArray[np.uint8], arm: NDArray[np.float32]) -> float:
        """Return the total way of all arm joints [rad, m] while nothing changed in the picture."""
        moved = 0.0 if self._state is None else float(np.abs(arm - self._state).sum())
        same = self._frame is not None and np.array_equal(frame, self._frame)
        self._travel = self._travel + moved if same else 0.0
        self._frame, self._state = frame, arm
        return self._travel
