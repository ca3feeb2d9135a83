"""Following a plan within limits of position, velocity, acceleration and jerk.

The fastest way from one state to another is Ruckig's (Berscheid and Kroeger, "Jerk-limited Real-time Trajectory
Generation with Arbitrary Target States", RSS 2021, arXiv 2105.04830). What to aim at is decided here: aiming at where
the plan is now would never settle, since the plan moves on meanwhile. So it is the distance from the plan that is
brought to rest at zero, as if the plan stood still, with the part of the limits that the plan itself leaves.
"""

from __future__ import annotations

import numpy as np
import ruckig  # type: ignore[import-not-found]  # compiled, without stubs
from numpy.typing import NDArray

from vla_ros.core.limits import clamp
from vla_ros.core.smoothing import PLAN_SHARE, Floats, Motion, MotionLimits, SmoothPath
from vla_ros.core.types import NS_PER_S

Bools = NDArray[np.bool_]

_RETURN_SHARE = 1 - PLAN_SHARE  # of the limits, for coming back to the plan
_RETURN_S = 0.3  # how long coming back may take, where the limits allow less
_LEAST = 0.01  # of a limit, however little is to be made up for
_NO_ANSWER = (ruckig.RuckigError, ValueError)  # ValueError: a result code that its Python enumeration lacks


class Tracker:
    """The commanded motion of A joints, one small step at a time.

    A joint on its path stays on it: it does not lag, and has no more jerk than the path. Any other comes back to it,
    gently where there is little to make up for, and never beyond the limits. No joint gets to where it could not stop
    within its bounds any more; one that starts outside of them only comes closer.

    lower, upper: (A,) bounds of the positions.
    failures: how often Ruckig found no answer; the joints braked instead.
    """

    def __init__(self, lower: Floats, upper: Floats, limits: MotionLimits) -> None:
        self.failures = 0
        self._lower, self._upper, self._limits = lower, upper, limits
        joints = len(lower)
        self._ruckig = ruckig.Ruckig(joints)
        self._returning, self._braking = _question(limits, _RETURN_SHARE), _question(limits, 1.0)
        self._braking.control_interface = ruckig.ControlInterface.Velocity
        self._return, self._stop, self._next_stop = (ruckig.Trajectory(joints) for _ in range(3))
        self.start(clamp(np.zeros(joints), lower, upper))

    def start(self, position: Floats) -> None:
        """Stand still at (A,) `position`, without a path."""
        still = np.zeros(len(position))
        self.motion = Motion(np.array(position, dtype=np.float64), still, still)
        self._path: SmoothPath | None = None
        self._kept = False  # whether the path keeps the limits as it is
        self._brake(self.motion, self._stop)

    def follow(self, path: SmoothPath, now_ns: int) -> None:
        """Come to `path` and stay on it. now_ns: the moment of the present state."""
        self._path, self._kept = path, path.stays_inside(self._lower, self._upper, self._limits)
        place, speed, change = map(np.abs, self._off(_row(self._feasible(path.at(np.array([now_ns]))), 0)))
        # What a polynomial of least jerk needs to end the distance in time, and about its acceleration.
        jerk = (60 * place / _RETURN_S + 36 * speed) / _RETURN_S**2 + 9 * change / _RETURN_S
        acceleration = jerk * _RETURN_S / 4 + change
        most, limits = _RETURN_SHARE, self._limits
        left = np.maximum(limits.jerk - path.peak_jerk, most * limits.jerk)
        self._returning.max_jerk = clamp(jerk, _LEAST * limits.jerk, left).tolist()
        left = np.maximum(limits.acceleration - path.peak_acceleration, most * limits.acceleration)
        self._returning.max_acceleration = clamp(acceleration, _LEAST * limits.acceleration, left).tolist()

    def step(self, now_ns: int, dt_s: float) -> Motion:
        """The motion at `now_ns`, `dt_s` after the last one; at rest without a path."""
        if dt_s > 0 and self._path is not None:
            try:
                self._commit(self._towards(self._path, now_ns, dt_s), dt_s)
            except _NO_ANSWER:
                self.failures += 1
                self.motion = _state(self._stop, dt_s)
                self._brake(self.motion, self._stop)
        return self.motion

    def _towards(self, path: SmoothPath, now_ns: int, dt_s: float) -> Motion:
        """On the path where that is reached within the step, nearer to it elsewhere."""
        plan = self._feasible(path.at(np.array([now_ns - round(dt_s * NS_PER_S), now_ns])))
        _begin(self._returning, self._off(_row(plan, 0)))
        self._ruckig.calculate(self._returning, self._return)
        off = _state(self._return, dt_s)
        aim = self._slowed(Motion(*(its + distance for its, distance in zip(_row(plan, 1), off, strict=True))))
        reaches = self._reaches(aim, dt_s)
        return aim if reaches.all() else _chosen(reaches, aim, self._pushed(aim, dt_s))

    def _off(self, plan: Motion) -> Motion:
        """How far from the plan, and how moving against it, the joints are now."""
        return Motion(*(mine - its for mine, its in zip(self.motion, plan, strict=True)))

    def _reaches(self, aim: Motion, dt_s: float) -> Bools:
        """(A,) whether some motion within the limits is at `aim` after just one step.

        The jerk that changes the acceleration evenly is one part of that motion. What it leaves of the limit can bend
        the velocity by up to left * dt^2 / 4 and, beyond what that brings, the position by up to left * dt^3 / 32.
        """
        position, velocity, acceleration = self.motion
        jerk = (aim.acceleration - acceleration) / dt_s
        bend = aim.velocity - velocity - (acceleration + aim.acceleration) / 2 * dt_s
        shift = aim.position - position - (velocity + (2 * acceleration + aim.acceleration) / 6 * dt_s) * dt_s
        needed = 4 * np.abs(bend) / dt_s**2 + 32 * np.abs(shift - bend * dt_s / 2) / dt_s**3
        highest = np.maximum(np.abs(acceleration), np.abs(aim.acceleration)) + needed * dt_s / 2
        fastest = np.maximum(np.abs(velocity), np.abs(aim.velocity)) + (needed / 16 + np.abs(jerk) / 8) * dt_s**2
        limits, rounding = self._limits, 1e-12 / dt_s**3
        fits: Bools = np.maximum(needed - rounding, 0.0) <= limits.jerk * (1 + 1e-9) - np.abs(jerk)
        return fits & (highest <= limits.acceleration + rounding * dt_s) & (fastest <= limits.velocity)

    def _pushed(self, aim: Motion, dt_s: float) -> Motion:
        """As near to the acceleration of `aim` as one even jerk gets without passing a limit later."""
        position, velocity, acceleration = self.motion
        most, change = self._limits.acceleration, self._limits.jerk * dt_s
        pushed = clamp(acceleration + clamp(aim.acceleration - acceleration, -change, change), -most, most)
        # The highest velocity on the way, and the one at which the joint will be once the acceleration has ended.
        turning = acceleration * np.abs(acceleration) / (2 * np.maximum(np.abs(pushed - acceleration), 1e-9)) * dt_s
        highest = velocity + np.where(acceleration * pushed < 0, turning, 0.0)
        later = velocity + (acceleration + pushed) / 2 * dt_s + pushed * np.abs(pushed) / (2 * self._limits.jerk)
        fastest = np.where(np.abs(highest) > np.abs(later), highest, later)
        ending = clamp(acceleration - np.sign(fastest) * change, -most, most)
        pushed = np.where(np.abs(fastest) > self._limits.velocity, ending, pushed)
        mean, weighted = (acceleration + pushed) / 2, (2 * acceleration + pushed) / 6
        return Motion(position + (velocity + weighted * dt_s) * dt_s, velocity + mean * dt_s, pushed)

    def _feasible(self, wanted: Motion) -> Motion:
        """The wanted motion, (..., A), within the limits; at rest at the bounds where it lies beyond them."""
        if self._kept:
            return wanted
        position = clamp(wanted.position, self._lower, self._upper)
        inside = position == wanted.position
        return self._slowed(Motion(position, wanted.velocity * inside, wanted.acceleration * inside))

    def _slowed(self, wanted: Motion) -> Motion:
        velocity = clamp(wanted.velocity, -self._limits.velocity, self._limits.velocity)
        # An acceleration takes a while to end; the velocity must not pass its limit meanwhile.
        bound = np.sqrt(2 * self._limits.jerk * (self._limits.velocity - np.abs(velocity)))
        bound = np.minimum(bound, self._limits.acceleration)
        return Motion(wanted.position, velocity, clamp(wanted.acceleration, -bound, bound))

    def _commit(self, candidate: Motion, dt_s: float) -> None:
        """Move on to `candidate`; joints that could not stop in time from there brake instead."""
        unsafe = self._brake(candidate, self._next_stop)
        if unsafe.any():
            candidate = _chosen(unsafe, _state(self._stop, dt_s), candidate)
            self._brake(candidate, self._next_stop)
        self.motion = candidate
        self._stop, self._next_stop = self._next_stop, self._stop

    def _brake(self, start: Motion, stop: ruckig.Trajectory) -> Bools:
        """Fill `stop` with the fastest stop from `start`. (A,) bool: which joints it takes out of their bounds."""
        _begin(self._braking, start)
        self._ruckig.calculate(self._braking, stop)
        reach = np.array([(extreme.min, extreme.max) for extreme in stop.position_extrema])
        lower = np.minimum(self._lower, self.motion.position)
        upper = np.maximum(self._upper, self.motion.position)
        unsafe: Bools = (reach[:, 0] < lower) | (reach[:, 1] > upper)
        return unsafe


def _question(limits: MotionLimits, share: float) -> ruckig.InputParameter:
    question = ruckig.InputParameter(len(limits.jerk))
    question.synchronization = ruckig.Synchronization.No  # no joint waits for the others
    question.max_velocity = (share * limits.velocity).tolist()
    question.max_acceleration = (share * limits.acceleration).tolist()
    question.max_jerk = (share * limits.jerk).tolist()
    return question


def _begin(question: ruckig.InputParameter, motion: Motion) -> None:
    question.current_position, question.current_velocity = motion.position.tolist(), motion.velocity.tolist()
    question.current_acceleration = motion.acceleration.tolist()


def _row(motion: Motion, row: int) -> Motion:
    return Motion(*(values[row] for values in motion))


def _state(way: ruckig.Trajectory, moment_s: float) -> Motion:
    return Motion(*(np.array(values) for values in way.at_time(moment_s)))


def _chosen(condition: Bools, yes: Motion, no: Motion) -> Motion:
    return Motion(*(np.where(condition, a, b) for a, b in zip(yes, no, strict=True)))
