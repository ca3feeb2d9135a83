"""How smooth a stream of positions is where one chunk takes over from another, against the rest of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stream:
    """Positions (N, J) sent every `period_s`, and the ticks at which a chunk took over from another."""

    positions: Floats
    boundaries: tuple[int, ...]
    period_s: float


@dataclass(frozen=True, slots=True)
class Motion:
    """Magnitudes over all joints, at chunk boundaries and mid-chunk: acceleration [rad/s^2] and jerk [rad/s^3]."""

    boundary: dict[str, Floats]
    middle: dict[str, Floats]


def motion(stream: Stream, window: int) -> Motion:
    """Finite differences of a stream. A boundary lasts `window` ticks from the takeover on; joints are flattened."""
    at = np.zeros(len(stream.positions), dtype=np.bool_)
    for tick in stream.boundaries:
        at[tick : tick + window] = True
    boundary, middle = {}, {}
    for name, order in (("acceleration", 2), ("jerk", 3)):
        size = np.abs(np.diff(stream.positions, order, axis=0)) / stream.period_s**order
        there = at[order:]  # a difference belongs to its last tick
        boundary[name], middle[name] = size[there].ravel(), size[~there].ravel()
    return Motion(boundary, middle)


def smoothness(streams: list[Stream], window: int) -> Figures:
    """Mean and largest acceleration and jerk at boundaries and mid-chunk, and the ratio of the means."""
    motions = [motion(stream, window) for stream in streams]
    figures: Figures = {}
    for name in ("acceleration", "jerk"):
        boundary = np.concatenate([found.boundary[name] for found in motions])
        middle = np.concatenate([found.middle[name] for found in motions])
        figures[name] = {"boundary": _summary(boundary), "middle": _summary(middle)}
        known = boundary.size and middle.size and middle.mean() > 0
        figures[f"{name}_ratio"] = round(float(boundary.mean() / middle.mean()), 3) if known else None
    return figures


def _summary(values: Floats) -> dict[str, float] | None:
    return {"mean": round(float(values.mean()), 3), "max": round(float(values.max()), 2)} if values.size else None
