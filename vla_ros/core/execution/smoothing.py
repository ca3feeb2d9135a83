"""A plan as a smooth motion: the lines between its knots, rounded until the joints can follow them."""

from __future__ import annotations

import bisect
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.execution.knots import Knots, distinct
from vla_ros.core.types import NS_PER_S

Floats = NDArray[np.float64]
# (3, A): position, velocity and acceleration of A joints, in their units, per s and per s^2. One array, because numpy
# takes as long for 21 numbers as for 7.
State = NDArray[np.float64]

# Half the width of the average [ns]. The first suits plans at 10 Hz and above; the others those that are too rough.
WINDOWS_NS = tuple(round(0.1 * 1.5**i * NS_PER_S) for i in range(7))
PLAN_SHARE = 0.6  # of the limits that a plan may take; the rest is for coming back to it


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
    peak_velocity: (A,) the largest of each joint, in its units per s.
    peak_acceleration, peak_jerk: (A,) the same, per s^2 and s^3. The stop at the last knot is left out, since it comes
        only where no chunk replaces the plan in time.
    peaks_from_ns, peaks_until_ns: between these moments [ns] they hold.
    """

    def __init__(self, knots: Knots, window_ns: int, now_ns: int) -> None:
        self._start_ns, self._knots_ns, self._values = knots.first_ns, knots.times, knots.values
        self._times = (knots.times - knots.first_ns) / NS_PER_S  # (K,) s; from here on in s, exact enough as floats
        lasts = (self._times[1:] - self._times[:-1])[:, None]
        slopes = (knots.values[1:] - knots.values[:-1]) / lasts
        self._slopes = np.vstack([slopes, np.zeros((1, knots.values.shape[1]))])  # after the last knot: at rest
        self._once = _summed((knots.values[:-1] + slopes * lasts / 2) * lasts)
        self._twice = _summed((self._once[:-1] + (knots.values[:-1] / 2 + slopes * lasts / 6) * lasts) * lasts)
        self.peak_velocity = np.abs(self._slopes).max(axis=0)  # no average is larger
        self.round(window_ns, now_ns)

    def round(self, window_ns: int, now_ns: int) -> None:
        """Average over another window."""
        self.window_ns = window_ns
        self.peaks_from_ns = max(now_ns, self._start_ns - 2 * window_ns)
        self.peaks_until_ns = int(self._knots_ns[-1]) - window_ns
        shifted = (self._knots_ns + np.array([[-window_ns], [0], [window_ns]])).ravel()
        corners = distinct(np.append(shifted, self._start_ns - 2 * window_ns))  # between them the jerk is constant
        self._corners = (corners - self._start_ns) / NS_PER_S  # (C,) s
        self._moments: list[float] = self._corners.tolist()  # bisect is ten times as fast as searchsorted for one
        position, velocity, acceleration = self._averaged(self._corners)
        jerk = np.zeros_like(acceleration)  # after the last corner: at rest
        jerk[:-1] = (acceleration[1:] - acceleration[:-1]) / (self._corners[1:] - self._corners[:-1])[:, None]
        self._cubics = np.stack([position, velocity, acceleration, jerk], axis=1)  # (C, 4, A), from each corner on
        self.peak_acceleration, self.peak_jerk = self._peaks((now_ns - self._start_ns) / NS_PER_S)

    def fits(self, limits: MotionLimits) -> bool:
        """Return whether a plan's share of the limits is enough for it."""
        gentle = (self.peak_acceleration <= PLAN_SHARE * limits.acceleration).all()
        return bool(gentle and (self.peak_jerk <= PLAN_SHARE * limits.jerk).all())

    def stays_inside(self, lower: Floats, upper: Floats, limits: MotionLimits) -> bool:
        """Return whether it keeps bounds (A,), and can end any acceleration before it exceeds the velocity limits."""
        stop = np.abs(self._slopes[-2:-1]).max(axis=0, initial=0.0) / (self.window_ns / NS_PER_S)
        acceleration = np.maximum(self.peak_acceleration, stop)
        left = limits.velocity - self.peak_velocity
        slow = (2 * limits.jerk * left >= acceleration**2) & (left >= 0) & (acceleration <= limits.acceleration)
        return bool((slow & (lower <= self._values.min(axis=0)) & (self._values.max(axis=0) <= upper)).all())

    def at(self, now_ns: int) -> State:
        """Return (3, A): the motion at a moment [ns]. Well before the knots and after them its position stays."""
        moment = min(max((now_ns - self._start_ns) / NS_PER_S, self._moments[0]), self._moments[-1])
        corner = bisect.bisect_right(self._moments, moment) - 1
        t = moment - self._moments[corner]
        taylor = np.array([[1.0, t, t * t / 2, t**3 / 6], [0.0, 1.0, t, t * t / 2], [0.0, 0.0, 1.0, t]])
        state: State = taylor @ self._cubics[corner]
        return state

    def _peaks(self, now_s: float) -> tuple[Floats, Floats]:
        """Return the peak acceleration and jerk from `now_s` on, to the last corner before the stop."""
        now_s = max(now_s, self._corners[0])
        stop_s = int(self._knots_ns[-1] - self._start_ns - self.window_ns) / NS_PER_S  # to the bit a corner
        ends_s = max(stop_s, now_s)
        first = int(self._corners.searchsorted(now_s, side="right")) - 1
        last = max(int(self._corners.searchsorted(ends_s, side="left")), first)
        acceleration, jerk = np.abs(self._cubics[first + 1 : last + 1, 2]), np.abs(self._cubics[first:last, 3])
        present = np.abs(self._cubics[first, 2] + self._cubics[first, 3] * (now_s - self._corners[first]))
        return np.maximum(acceleration.max(axis=0, initial=0.0), present), jerk.max(axis=0, initial=0.0)

    def _averaged(self, middle: Floats) -> tuple[Floats, ...]:
        """Return the lines between the knots averaged twice, (C, A) each, at (C,) moments [s]."""
        window = self.window_ns / NS_PER_S
        integrals = self._integrals(np.stack([middle - window, middle, middle + window]))
        return tuple((i[0] - 2 * i[1] + i[2]) / window**2 for i in integrals)

    def _integrals(self, moments_s: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the lines integrated twice, once, and as they are, (3, C, A), at (3, C) moments."""
        knot = np.maximum(np.searchsorted(self._times, moments_s, side="right") - 1, 0)
        after = (moments_s - self._times[knot])[..., None]  # negative before the first knot
        value, once = self._values[knot], self._once[knot]
        slope = self._slopes[knot]
        first = once + (value + slope * after / 2) * after
        second = self._twice[knot] + (once + (value / 2 + slope * after / 6) * after) * after
        return second, first, value + slope * after


def smooth(knots: Knots, now_ns: int, limits: MotionLimits) -> SmoothPath:
    """Return the least rounded motion through `knots` that joints with these limits can follow from `now_ns` on.

    Only acceleration and jerk decide: no rounding makes a plan slower.
    """
    path = SmoothPath(knots, WINDOWS_NS[0], now_ns)
    for window_ns in WINDOWS_NS[1:]:
        if path.fits(limits):
            break
        path.round(window_ns, now_ns)
    return path


def _summed(pieces: Floats) -> Floats:
    """Return (K, A) integrals up to each knot, from (K - 1, A) integrals of pieces."""
    return np.vstack([np.zeros((1, pieces.shape[1])), np.cumsum(pieces, axis=0)])
