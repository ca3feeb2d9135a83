"""The next command of a robot: along its plan or to rest, within every limit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vla_ros.core.execution.gripper import Grippers
from vla_ros.core.execution.knots import Knots
from vla_ros.core.execution.limits import Limits, Positions
from vla_ros.core.execution.smoothing import MotionLimits, State, smooth
from vla_ros.core.execution.tracking import Tracker
from vla_ros.core.robot import RobotSpec

_SAME = 1e-9


class Command(NamedTuple):
    """What to send: (A,) positions, and (A,) velocities for the outputs that want these."""

    position: Positions
    velocity: Positions


class Mover:
    """Arm joints follow a smoothed plan with limited velocity, acceleration and jerk; grippers go as fast as they may.

    A stop is a motion as any other: from the last command to rest, within the same limits, and as fast as they allow.
    """

    def __init__(self, robot: RobotSpec, limits: Limits) -> None:
        self._limits, self._arm = limits, np.flatnonzero(~robot.is_gripper)
        self._motion_limits = MotionLimits(
            *(robot.limits(quantity)[self._arm] for quantity in ("max_velocity", "max_acceleration", "max_jerk"))
        )
        self._tracker = Tracker(limits.lower[self._arm], limits.upper[self._arm], self._motion_limits)
        self._grippers, self._is_gripper = Grippers(robot), robot.is_gripper
        self._grip = np.zeros(len(robot.joints))

    @property
    def failures(self) -> int:
        """How often the way could not be calculated, and the arm braked instead."""
        return self._tracker.failures

    @property
    def braking(self) -> bool:
        """Whether it is on its way to rest, or there, without a plan."""
        return self._tracker.braking

    @property
    def motion(self) -> State:
        """(3, arm joints): the motion commanded last."""
        return self._tracker.state

    def at_rest(self, last: Positions) -> bool:
        """Return whether nothing moves after the command `last`, (A,), until there is another plan."""
        there = np.abs(self._limits.with_margin(self._grip) - last) <= _SAME
        return self._tracker.at_rest and bool(there[self._is_gripper].all())

    def rest(self) -> Positions:
        """Return (A,) where everything comes to rest."""
        place = self._limits.with_margin(self._grip)
        place[self._arm] = self._tracker.rest()
        return place

    def take_back(self, motion: State) -> None:
        """Forget the last command; `motion` is what was commanded before it."""
        self._tracker.take_back(motion)

    def stop(self, grip: Positions | None = None, speeds: Positions | None = None) -> None:
        """Come to rest from the last command. grip: (A,), of which grippers take their part; without it they keep
        what they are told. speeds: (A,) of the joints that move with other velocities than the commanded motion's; NaN
        of all others.
        """
        if grip is not None:
            self._grip = grip
        if speeds is not None:
            place, speed, change = self._tracker.state
            own = speeds[self._arm]
            self._tracker.take_back(np.stack([place, np.where(np.isnan(own), speed, own), change]))
        self._tracker.stop()

    def go_to(self, place: Positions) -> None:
        """Come to rest at (A,) `place`; grippers stay."""
        self._tracker.go_to(place[self._arm])

    def stopping_distance(self) -> Positions:
        """Return (A,) a bound on any stop from the last command; 0 for grippers."""
        distance = np.zeros(len(self._is_gripper))
        distance[self._arm] = self._tracker.stopping_distance()
        return distance

    def way_to_stop(self, last: Positions, pieces: int) -> Positions:
        """Return (pieces, A) places on the way to rest from the command `last`, (A,), the last of them its end."""
        places = np.repeat(last[None], pieces, axis=0)
        places[:, self._arm] = self._tracker.way_to_stop(pieces)
        return places

    def start(self, position: Positions, now_ns: int) -> None:
        """Stand still at (A,) `position`, without a plan; from outside the limits, come back in."""
        self._tracker.start(position[self._arm])
        self._grippers.start(position)
        inside = self._limits.within(position)
        self._grip = inside
        if (inside != position).any():
            self.follow(Knots(np.array([now_ns], dtype=np.int64), inside[None]), now_ns)

    def follow(self, knots: Knots, now_ns: int) -> None:
        """Go along `knots` from now on, and stand still at their end."""
        arm = Knots(knots.times, knots.values[:, self._arm])
        self._tracker.follow(smooth(arm, now_ns, self._motion_limits), now_ns)

    def move(self, due: ArrayLike | None, last: Positions, now_ns: int, dt_s: float) -> Command:
        """Return the command `dt_s` after `last`.

        due: (A,) the plan's positions for now, of which grippers take their part.
        """
        if due is not None:
            self._grip = self._grippers.decided(np.asarray(due, dtype=np.float64))
        state = self._tracker.step(now_ns, dt_s)
        position = self._limits.with_margin(self._grip)
        position[self._arm] = state[0]
        position = self._limits.slowed(position, last, dt_s)  # the limits have the last word
        velocity = (position - last) / dt_s if dt_s > 0 else np.zeros(len(last))
        velocity[self._arm] = state[1]
        return Command(position, velocity)
