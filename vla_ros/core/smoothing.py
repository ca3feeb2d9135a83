"""A plan as a smooth motion: the lines between its knots, rounded until the joints can follow them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.knots import Knots, distinct
from vla_ros.core.types import NS_PER_S

Floats = NDArray[np.float64]

# Half the width of the average [ns]. The first suits plans at 10 Hz and above; the others those that are too rough.
WINDOWS_NS = tuple(round(0.1 * 1.5**i * NS_PER_S) for i in range(7))
PLAN_SHARE = 0.6  # of the limits that a plan may take; the rest is for coming back to it


class Motion(NamedTuple):
    """Where joints are or should be, and how they move there."""

    position: Floats
    """(..., A) in the joints' units."""
    velocity: Floats
    """(..., A) in units per s."""
    acceleration: Floats
    """(..., A) in units per s^2."""


class MotionLimits(NamedTuple):
    """The largest motion of each joint, (A,) each, in its units per s, s^2 and s^3."""

    velocity: Floats
    acceleration: Floats
    jerk: Floats


class SmoothPath:
    """Knots averaged twice over a window: a cubic B-spline through any spacing of knots.

    Lines have corners that no joint can follow. Their double average has none: position, velocity and acceleration are
    continuous, it neither leads nor lags, leaves straight motion as it is, never leaves the range of the knots, and
    cuts a corner at which the velocity changes by dv by dv * window / 6, with an acceleration of dv / window.

    knots: before the first it moves as it begins; after the last it stands still.
    window_ns: half the width of what is averaged [ns]. now_ns: what came before does not count in the peaks.
    peak_acceleration, peak_jerk: (A,) the largest of each joint, in its units per s^2 and s^3. The stop at the last
        knot is left out, since it comes only where no chunk replaces the plan in time.
    """

    def __init__(self, knots: Knots, window_ns: int, now_ns: int) -> None:
        self._start_ns, self._knots_ns, self._values = knots.first_ns, knots.times, knots.values
        self._times = (knots.times - knots.first_ns) / NS_PER_S  # (K,) s; from here on in s, exact enough as floats
        lasts = np.diff(self._times)[:, None]
        slopes = np.diff(knots.values, axis=0) / lasts
        self._slopes = np.vstack([slopes, np.zeros((1, knots.values.shape[1]))])  # after the last knot: at rest
        self._once = _summed((knots.values[:-1] + slopes * lasts / 2) * lasts)
        self._twice = _summed((self._once[:-1] + (knots.values[:-1] / 2 + slopes * lasts / 6) * lasts) * lasts)
        self.round(window_ns, now_ns)

    def round(self, window_ns: int, now_ns: int) -> None:
        """Average over another window."""
        self.window_ns = window_ns
        self.peak_acceleration, self.peak_jerk = self._peaks(now_ns)

    def fits(self, limits: MotionLimits) -> bool:
        """Whether a plan's share of the limits is enough for it."""
        gentle = (self.peak_acceleration <= PLAN_SHARE * limits.acceleration).all()
        return bool(gentle and (self.peak_jerk <= PLAN_SHARE * limits.jerk).all())

    def at(self, moments_ns: NDArray[np.int64]) -> Motion:
        """The motion at (M,) moments [ns], (M, A) each."""
        window = self.window_ns / NS_PER_S
        # Far from the knots it stands still, and integrals over a long time would only round it.
        middle = np.clip((moments_ns - self._start_ns) / NS_PER_S, -2 * window, self._times[-1] + 2 * window)
        integrals = self._integrals(np.stack([middle - window, middle, middle + window]))
        return Motion(*((i[0] - 2 * i[1] + i[2]) / window**2 for i in integrals))

    def _peaks(self, now_ns: int) -> tuple[Floats, Floats]:
        corners = np.concatenate([self._knots_ns + shift * self.window_ns for shift in (-1, 0, 1)])
        ends_ns = max(int(self._knots_ns[-1]) - self.window_ns, now_ns)
        corners = distinct(np.clip(corners, now_ns, ends_ns))  # between them the jerk is constant
        acceleration = self.at(corners).acceleration
        jerk = np.diff(acceleration, axis=0) / (np.diff(corners)[:, None] / NS_PER_S)
        return np.abs(acceleration).max(axis=0), np.abs(jerk).max(axis=0, initial=0.0)

    def _integrals(self, moments_s: Floats) -> tuple[Floats, Floats, Floats]:
        """(3, M) moments -> the lines integrated twice, once, and as they are, (3, M, A), from the first knot on."""
        knot = np.maximum(np.searchsorted(self._times, moments_s, side="right") - 1, 0)
        after = (moments_s - self._times[knot])[..., None]  # negative before the first knot
        value, once = self._values[knot], self._once[knot]
        slope = self._slopes[knot]
        first = once + (value + slope * after / 2) * after
        second = self._twice[knot] + (once + (value / 2 + slope * after / 6) * after) * after
        return second, first, value + slope * after


def smooth(knots: Knots, now_ns: int, limits: MotionLimits) -> SmoothPath:
    """The least rounded motion through `knots` that joints with these limits can follow from `now_ns` on.

    Only acceleration and jerk decide: no rounding makes a plan slower.
    """
    path = SmoothPath(knots, WINDOWS_NS[0], now_ns)
    for window_ns in WINDOWS_NS[1:]:
        if path.fits(limits):
            break
        path.round(window_ns, now_ns)
    return path


def _summed(pieces: Floats) -> Floats:
    """(K - 1, A) integrals of pieces -> (K, A) integrals up to each knot."""
    return np.vstack([np.zeros((1, pieces.shape[1])), np.cumsum(pieces, axis=0)])
