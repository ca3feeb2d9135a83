"""Following a plan within limits of position, velocity, acceleration and jerk.

The fastest way from one state to another is Ruckig's (Berscheid and Kroeger, "Jerk-limited Real-time Trajectory
Generation with Arbitrary Target States", RSS 2021, arXiv 2105.04830). What to aim at is decided here: aiming at where
the plan is now would never settle, since the plan moves on meanwhile. So it is the distance from the plan that is
brought to rest at zero, as if the plan stood still, with the part of the limits that the plan itself leaves.

A control period begins with cold caches, in which every line costs five times what it costs in a loop. So the way back
is calculated anew only where the joints have left it, and what cannot happen on it is not looked for.
"""

from __future__ import annotations

import numpy as np
import ruckig  # type: ignore[import-not-found]  # compiled, without stubs
from numpy.typing import NDArray

from vla_ros.core.execution.limits import clamp
from vla_ros.core.execution.smoothing import PLAN_SHARE, Floats, MotionLimits, SmoothPath, State
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

    A stop follows no path: it brings every joint to rest from the state, as fast as the limits allow.

    lower, upper: (A,) bounds of the positions.
    state: (3, A), the motion commanded last.
    failures: how often Ruckig found no answer; the joints braked instead.
    """

    def __init__(self, lower: Floats, upper: Floats, limits: MotionLimits) -> None:
        self.failures = 0
        self._lower, self._upper, self._limits = lower, upper, limits
        joints = len(lower)
        self._ruckig = ruckig.Ruckig(joints)
        self._returning, self._braking = _question(limits, _RETURN_SHARE), _question(limits, 1.0)
        self._braking.control_interface = ruckig.ControlInterface.Velocity
        self._going = _question(limits, 1.0)
        self._return, self._stop, self._next_stop, self._way = (ruckig.Trajectory(joints) for _ in range(4))
        half = limits.velocity / 2
        self._gentle = np.stack([half, self._ending(half)])  # below both, no acceleration has to be cut
        room = _stopping_distance(limits)
        self._roomy = lower + room, upper - room
        self.start(clamp(np.zeros(joints), lower, upper))

    def start(self, position: Floats) -> None:
        """Stand still at (A,) `position`, without a path."""
        self.state = np.zeros((3, len(position)))
        self.state[0] = position
        self._path: SmoothPath | None = None
        self._to_rest: ruckig.Trajectory | None = None  # to where it comes to rest; there is no path meanwhile
        self._kept = False  # whether the path keeps the limits as it is
        self._at_ns: int | None = None  # when the state was just where the way back to the path led
        self._brake(self.state, self._stop)
        self._stop_known = True  # whether `_stop` begins at the state

    def follow(self, path: SmoothPath, now_ns: int) -> None:
        """Come to `path` and stay on it. now_ns: when it came, at most a step or two after the state's own moment."""
        self._to_rest = None
        self._path, self._kept = path, path.stays_inside(self._lower, self._upper, self._limits)
        self._at_ns = None
        place, speed, change = np.abs(self.state - self._feasible(path.at(now_ns)))
        # What a polynomial of least jerk needs to end the distance in time, and about its acceleration.
        jerk = (60 * place / _RETURN_S + 36 * speed) / _RETURN_S**2 + 9 * change / _RETURN_S
        acceleration = jerk * _RETURN_S / 4 + change
        most, limits = _RETURN_SHARE, self._limits
        left = np.maximum(limits.jerk - path.peak_jerk, most * limits.jerk)
        self._returning.max_jerk = clamp(jerk, _LEAST * limits.jerk, left).tolist()
        left = np.maximum(limits.acceleration - path.peak_acceleration, most * limits.acceleration)
        self._returning.max_acceleration = clamp(acceleration, _LEAST * limits.acceleration, left).tolist()

    @property
    def at_rest(self) -> bool:
        """Whether it stands still, and will as long as it has no path."""
        return self._to_rest is None and not self.state[1:].any()

    @property
    def braking(self) -> bool:
        """Whether it is on its way to rest, or there, without a path."""
        return self._path is None

    def take_back(self, state: State) -> None:
        """Go on from (3, A) another state than the last."""
        self.state, self._stop_known, self._at_ns = state, False, None

    def stop(self) -> None:
        """Leave the path and come to rest, as fast as the limits allow."""
        self._path, self._at_ns = None, None
        try:
            self._end(self._way_to_stop())
        except _NO_ANSWER:  # from within the limits there always is one
            self.failures += 1
            self.take_back(self.state * [[1.0], [1.0], [0.0]])
            self._end(self._way_to_stop())

    def go_to(self, place: Floats) -> None:
        """Leave the path and come to rest at (A,) `place`, as fast as the limits allow."""
        self._path, self._at_ns = None, None
        _begin(self._going, self.state)
        self._going.target_position = clamp(place, self._lower, self._upper).tolist()
        try:
            self._ruckig.calculate(self._going, self._way)
            self._end(self._way)
        except _NO_ANSWER:
            self.failures += 1
            self.stop()

    def rest(self) -> Floats:
        """Return (A,) where a stop or `go_to` under way ends; where it is, without one."""
        place: Floats = (self.state if self._to_rest is None else _state(self._to_rest, self._to_rest.duration))[0]
        return place

    def stopping_distance(self) -> Floats:
        """Return (A,) a bound on any stop from the state."""
        speed, change = np.abs(self.state[1:])
        jerk, most = self._limits.jerk, self._limits.acceleration
        fastest = speed + change**2 / (2 * jerk)
        distance: Floats = fastest * ((change + most / 2) / jerk + fastest / (2 * most))
        return distance

    def way_to_stop(self, pieces: int) -> Floats:
        """Return (pieces, A) places on the fastest stop from the state, the last of them its end."""
        way = self._way_to_stop()
        places: Floats = np.stack([_state(way, way.duration * part / pieces)[0] for part in range(1, pieces + 1)])
        return places

    def step(self, now_ns: int, dt_s: float) -> State:
        """Return (3, A) the motion at `now_ns`, `dt_s` after the last one; without a path, at rest or braking."""
        if self._to_rest is not None:
            return self._on_to_rest(self._to_rest, dt_s)
        if dt_s > 0 and self._path is not None:
            try:
                self._commit(self._towards(self._path, now_ns, dt_s), dt_s)
            except _NO_ANSWER:
                self.failures += 1
                self._at_ns = None
                self.state = _state(self._way_to_stop(), dt_s)
                self._brake(self.state, self._stop)
        return self.state

    def _end(self, ending: ruckig.Trajectory) -> None:
        self._to_rest, self._ended_s = ending, 0.0

    def _on_to_rest(self, ending: ruckig.Trajectory, dt_s: float) -> State:
        self._ended_s += dt_s
        self.state, self._stop_known = _state(ending, min(self._ended_s, ending.duration)), False
        if self._ended_s >= ending.duration:
            self.state[1:] = 0.0
            self._to_rest = None
        return self.state

    def _towards(self, path: SmoothPath, now_ns: int, dt_s: float) -> State:
        """Return the state on the way back to the path if that is reached within the step, else one nearer to it."""
        begin_ns, before_ns, self._at_ns = now_ns - round(dt_s * NS_PER_S), self._at_ns, None
        if begin_ns != before_ns:
            self._set_out(path, begin_ns)
        aim = self._feasible(path.at(now_ns)) + _state(self._return, (now_ns - self._out_ns) / NS_PER_S)
        if self._free and path.peaks_from_ns <= begin_ns and now_ns <= path.peaks_until_ns:
            self._at_ns = now_ns
            return aim
        slowed = self._slowed(aim)
        reaches = self._reaches(slowed, dt_s)
        if not reaches.all():
            return np.where(reaches, slowed, self._pushed(slowed, dt_s))
        self._at_ns = now_ns if slowed is aim else None
        return slowed

    def _set_out(self, path: SmoothPath, now_ns: int) -> None:
        """Find the way back from the state at `now_ns`, and whether it and the path's peaks together keep every limit,
        and leave room to end their acceleration before the velocity passes its own.
        """
        off, way = self.state - self._feasible(path.at(now_ns)), self._returning
        _begin(way, off)
        self._ruckig.calculate(way, self._return)
        self._out_ns = now_ns
        _, speed, change = np.abs(off)
        most = np.array([way.max_velocity, way.max_acceleration, way.max_jerk])
        both = most + np.stack([path.peak_velocity, path.peak_acceleration, path.peak_jerk])
        slow = (change <= most[1]) & (speed + change**2 / (2 * most[2]) <= most[0])  # else it begins beyond its limits
        slow &= both[0] + both[1] ** 2 / (2 * self._limits.jerk) <= self._limits.velocity
        self._free = self._kept and bool((slow & (both <= self._limits)).all())

    def _reaches(self, aim: State, dt_s: float) -> Bools:
        """Return (A,) whether some motion within the limits is at `aim` after just one step.

        The jerk that changes the acceleration evenly is one part of that motion. It leaves the velocity short of the
        aim by `bend` and the position by `shift`. What it leaves of the limit can bend the velocity by up to
        left * dt^2 / 4 and, beyond what that brings, the position by up to left * dt^3 / 32.
        """
        change = np.concatenate([aim - self.state, self.state[1:]])  # of position, velocity, acceleration; then both
        jerk, bend, shift = np.abs(_shape(dt_s) @ change)
        needed = bend + shift
        highest = np.maximum(np.abs(self.state), np.abs(aim))
        limits, rounding = self._limits, 1e-12 / dt_s**3
        fits: Bools = np.maximum(needed - rounding, 0.0) + jerk <= limits.jerk * (1 + 1e-9)
        fits &= highest[2] + needed * (dt_s / 2) <= limits.acceleration + rounding * dt_s
        fits &= highest[1] + (needed / 2 + jerk) * (dt_s**2 / 8) <= limits.velocity
        return fits

    def _pushed(self, aim: State, dt_s: float) -> State:
        """Return the state as near to the acceleration of `aim` as one even jerk gets without passing a limit later."""
        position, velocity, acceleration = self.state
        most, change = self._limits.acceleration, self._limits.jerk * dt_s
        pushed = clamp(acceleration + clamp(aim[2] - acceleration, -change, change), -most, most)
        # The highest velocity on the way, and the one at which the joint will be once the acceleration has ended.
        turning = acceleration * np.abs(acceleration) / (2 * np.maximum(np.abs(pushed - acceleration), 1e-9)) * dt_s
        highest = velocity + np.where(acceleration * pushed < 0, turning, 0.0)
        later = velocity + (acceleration + pushed) / 2 * dt_s + pushed * np.abs(pushed) / (2 * self._limits.jerk)
        fastest = np.where(np.abs(highest) > np.abs(later), highest, later)
        ending = clamp(acceleration - np.sign(fastest) * change, -most, most)
        pushed = np.where(np.abs(fastest) > self._limits.velocity, ending, pushed)
        mean, weighted = (acceleration + pushed) / 2, (2 * acceleration + pushed) / 6
        return np.stack([position + (velocity + weighted * dt_s) * dt_s, velocity + mean * dt_s, pushed])

    def _feasible(self, wanted: State) -> State:
        """Return the wanted motion within the limits; at rest at the bounds if it lies beyond them."""
        if self._kept:
            return wanted
        position = clamp(wanted[0], self._lower, self._upper)
        inside = position == wanted[0]
        return self._slowed(np.stack([position, wanted[1] * inside, wanted[2] * inside]))

    def _slowed(self, wanted: State) -> State:
        if (np.abs(wanted[1:]) <= self._gentle).all():
            return wanted
        velocity = clamp(wanted[1], -self._limits.velocity, self._limits.velocity)
        bound = self._ending(velocity)
        return np.stack([wanted[0], velocity, clamp(wanted[2], -bound, bound)])

    def _ending(self, velocity: Floats) -> Floats:
        """Return (A,) the acceleration that can still end before the velocity passes its limit."""
        left = np.sqrt(2 * self._limits.jerk * (self._limits.velocity - np.abs(velocity)))
        return np.minimum(left, self._limits.acceleration)

    def _commit(self, candidate: State, dt_s: float) -> None:
        """Move on to `candidate`; joints that could not stop in time from there brake instead."""
        lowest, highest = self._roomy
        if ((lowest <= candidate[0]) & (candidate[0] <= highest)).all():
            self.state, self._stop_known = candidate, False
            return
        unsafe = self._brake(candidate, self._next_stop)
        if unsafe.any():
            self._at_ns = None
            candidate = np.where(unsafe, _state(self._way_to_stop(), dt_s), candidate)
            self._brake(candidate, self._next_stop)
        self.state, self._stop_known = candidate, True
        self._stop, self._next_stop = self._next_stop, self._stop

    def _way_to_stop(self) -> ruckig.Trajectory:
        """Return the fastest stop from the state."""
        if not self._stop_known:
            self._brake(self.state, self._stop)
            self._stop_known = True
        return self._stop

    def _brake(self, start: State, stop: ruckig.Trajectory) -> Bools:
        """Fill `stop` with the fastest stop from `start`. (A,) bool: which joints it takes out of their bounds."""
        _begin(self._braking, start)
        self._ruckig.calculate(self._braking, stop)
        reach = np.array([(extreme.min, extreme.max) for extreme in stop.position_extrema])
        lower = np.minimum(self._lower, self.state[0])
        upper = np.maximum(self._upper, self.state[0])
        unsafe: Bools = (reach[:, 0] < lower) | (reach[:, 1] > upper)
        return unsafe


def _question(limits: MotionLimits, share: float) -> ruckig.InputParameter:
    question = ruckig.InputParameter(len(limits.jerk))
    question.synchronization = ruckig.Synchronization.No  # no joint waits for the others
    question.max_velocity = (share * limits.velocity).tolist()
    question.max_acceleration = (share * limits.acceleration).tolist()
    question.max_jerk = (share * limits.jerk).tolist()
    return question


def _stopping_distance(limits: MotionLimits) -> Floats:
    """Return (A,) how far any stop within the limits goes: ending an acceleration, then the speed it led to."""
    fastest = limits.velocity + limits.acceleration**2 / (2 * limits.jerk)
    ending_s = limits.acceleration / limits.jerk
    return fastest * (ending_s + (fastest / limits.acceleration + ending_s) / 2)


def _begin(question: ruckig.InputParameter, state: State) -> None:
    question.current_position, question.current_velocity, question.current_acceleration = state.tolist()


def _state(way: ruckig.Trajectory, moment_s: float) -> State:
    return np.array(way.at_time(moment_s))


def _shape(dt_s: float) -> Floats:
    """(3, 5): from the changes of position, velocity and acceleration within a step, and the velocity and acceleration
    before it, to the even jerk and to the jerk that bends by what is missing: 4 bend / dt^2, 32 shift / dt^3.
    """
    r = 1 / dt_s
    even = [0.0, 0.0, r, 0.0, 0.0]
    bend = [0.0, 4 * r * r, -2 * r, 0.0, -4 * r]
    shift = [32 * r**3, -16 * r * r, 8 / 3 * r, -32 * r * r, 0.0]
    return np.array([even, bend, shift])
