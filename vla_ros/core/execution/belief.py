"""Where the robot is believed to be. A reading that it cannot have got to is not believed, whoever sends it.

Drivers send zeros when they reconnect; a second joint state publisher does it all day; an encoder slips by a turn. What
is commanded must never follow such a reading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_ros.core.execution.limits import Limits, Positions
from vla_ros.core.execution.turning import TURN, Turning
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import NS_PER_S

SETTLED_S, SETTLED_READINGS = 0.05, 3  # how long readings must have agreed before the robot is armed
JUMP_READINGS = 5  # that agree with each other at a new place, for SETTLED_S: the robot is there now
CALM_S = 0.5  # after a reading that was not believed; a source that is slower than that is no robot's
_RANGE_SHARE = 0.1  # of a joint's range, the most that the slack may be


@dataclass(slots=True)
class _Run:
    """Readings in a row, each of which the robot can have got to from the one before. newest: (A,) the last of them."""

    newest: Positions
    first_ns: int
    last_ns: int
    readings: int = 1

    def add(self, reading: Positions, stamp_ns: int) -> None:
        self.newest, self.last_ns, self.readings = reading, stamp_ns, self.readings + 1

    @property
    def seconds(self) -> float:
        return (self.last_ns - self.first_ns) / NS_PER_S


class Belief:
    """The guard's view of where the robot is.

    A reading is believed that is finite, within the joints' limits and the guard's `limit_tolerance`, and no further
    from the last believed one than `max_velocity` and the time between their stamps allow, with `reading_slack` on top.
    Of grippers only the limits are asked: some report nothing but open and closed.

    Any other is a reason to stop. JUMP_READINGS of them in a row that agree with each other mean that the robot's
    reading jumped: then it is believed to be there. While two sources take turns, neither is ever believed as a move of
    the other.

    jump: what to say of the newest reading where it made a jump of those before it; else empty.
    """

    def __init__(self, robot: RobotSpec, limits: Limits) -> None:
        self._limits, self._turning = limits, Turning(robot)
        self._timeout_s = robot.guard.joint_state_timeout_s
        ranges = robot.limits("upper") - robot.limits("lower")
        slack = np.minimum(robot.guard.reading_slack, _RANGE_SHARE * ranges)
        self._slack = np.where(robot.is_gripper, np.inf, slack)
        self._wraps = np.array([joint.kind == "revolute" for joint in robot.joints])
        self.forget()

    def forget(self) -> None:
        """Forget everything: after a clock jump, or before the first reading."""
        self._run: _Run | None = None
        self._other: _Run | None = None  # not believed, but they agree with each other
        self._doubt, self._doubted_ns = "", 0
        self.jump = ""

    @property
    def position(self) -> Positions | None:
        """(A,) where the robot is believed to be; None before the first reading."""
        return None if self._run is None else self._run.newest

    @property
    def stamp_ns(self) -> int | None:
        """Of the last reading that was believed [ns]."""
        return None if self._run is None else self._run.last_ns

    def age_s(self, now_ns: int) -> float:
        """Return the age of the last reading that was believed [s]; infinite before the first."""
        return np.inf if self._run is None else (now_ns - self._run.last_ns) / NS_PER_S

    def take(self, stamp_ns: int, reading: Positions) -> str | None:
        """Take (A,) a reading that is newer than `stamp_ns`. Returns why it is not believed, or None."""
        run, self.jump = self._run, ""
        if run is not None:
            reading = self._turning.unwrapped(reading, run.newest)
        doubt = self._limits.unreal(reading)
        if doubt is not None:
            return self._disbelieve(doubt, stamp_ns, None)
        if run is None:
            self._run = _Run(reading, stamp_ns, stamp_ns)
            return None
        elapsed_s = self._elapsed_s(stamp_ns, run)
        if not self._reachable(reading, run, elapsed_s):
            return self._elsewhere(reading, stamp_ns, run)
        if (stamp_ns - run.last_ns) / NS_PER_S > self._timeout_s:  # what was before it says little of now
            run.first_ns, run.readings = stamp_ns, 0
        run.add(reading, stamp_ns)
        self._other = None
        return None

    def doubt(self, now_ns: int) -> str | None:
        """Return why one of the readings of a moment ago was not believed, or None."""
        return self._doubt if self._doubt and now_ns - self._doubted_ns < CALM_S * NS_PER_S else None

    def unsettled(self) -> str | None:
        """Return why readings are too few for motion to begin, or None."""
        run = self._run
        if run is None:
            return "joint states are missing"
        if run.readings >= SETTLED_READINGS and run.seconds >= SETTLED_S:
            return None
        return (
            f"joint states were watched for {run.seconds:.2f} s ({run.readings} of them); "
            f"{SETTLED_S} s and {SETTLED_READINGS} agreeing readings are needed"
        )

    def apart(self, position: Positions) -> bool:
        """Return whether (A,) `position` is elsewhere than the robot, by more than a reading may be off."""
        return self._run is not None and bool((np.abs(position - self._run.newest) > self._slack).any())

    def _elsewhere(self, reading: Positions, stamp_ns: int, run: _Run) -> str | None:
        """Handle a reading out of reach of `run`: part of a jump, or return why it is not believed."""
        other = self._other
        if other is None or not self._reachable(reading, other, self._elapsed_s(stamp_ns, other)):
            other = _Run(reading, stamp_ns, stamp_ns)
        else:
            other.add(reading, stamp_ns)
        if other.readings < JUMP_READINGS or other.seconds < SETTLED_S:
            return self._disbelieve(self._named(reading, stamp_ns, run), stamp_ns, other)
        worst = self._worst(reading, run)
        self.jump = (
            f"the robot's reading jumped: {self._limits.names[worst]} from {run.newest[worst]:.3f} "
            f"to {reading[worst]:.3f}{self._turned(reading, run, worst)}"
        )
        self._run, self._other, self._doubted_ns = other, None, other.first_ns
        return None

    def _disbelieve(self, why: str, stamp_ns: int, other: _Run | None) -> str:
        self._doubt, self._doubted_ns, self._other = why, stamp_ns, other
        return why

    def _elapsed_s(self, stamp_ns: int, run: _Run) -> float:
        """Return the time since `run` [s], capped: after a silence the robot may be anywhere, which shows as a jump."""
        return min((stamp_ns - run.last_ns) / NS_PER_S, self._timeout_s)

    def _reachable(self, reading: Positions, run: _Run, elapsed_s: float) -> bool:
        way = np.abs(reading - run.newest)
        return elapsed_s > 0 and bool((way <= self._limits.max_velocity * elapsed_s + self._slack).all())

    def _worst(self, reading: Positions, run: _Run) -> int:
        way = np.where(np.isinf(self._slack), 0.0, np.abs(reading - run.newest) / self._limits.max_velocity)
        return int(way.argmax())

    def _named(self, reading: Positions, stamp_ns: int, run: _Run) -> str:
        worst = self._worst(reading, run)
        name, before, ago_ms = self._limits.names[worst], run.newest[worst], (stamp_ns - run.last_ns) / 1e6
        said = f"joint states disagree: {name} reads {reading[worst]:.3f}, but was {before:.3f} {ago_ms:.0f} ms ago"
        return f"{said}{self._turned(reading, run, worst) or ': it cannot have got there'}"

    def _turned(self, reading: Positions, run: _Run, joint: int) -> str:
        """Return a question to the user if a joint with limits moved by a full turn, else ''."""
        way = abs(reading[joint] - run.newest[joint])
        near = self._slack[joint] + self._limits.max_velocity[joint] * self._timeout_s
        if not self._wraps[joint] or abs(way - TURN) > near:
            return ""
        return f": jumped by {way:.3f}, a full turn; is it kind: continuous?"
