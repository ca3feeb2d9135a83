"""The next command of a robot: along its plan within every limit, or towards a hold."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vla_ros.core.gripper import Grippers
from vla_ros.core.knots import Knots
from vla_ros.core.limits import Limits, Positions
from vla_ros.core.robot import RobotSpec
from vla_ros.core.smoothing import MotionLimits, smooth
from vla_ros.core.tracking import Tracker


class Command(NamedTuple):
    """What to send: (A,) positions, and (A,) velocities for the outputs that want these."""

    position: Positions
    velocity: Positions


class Mover:
    """Arm joints follow a smoothed plan with limited velocity, acceleration and jerk; grippers go as fast as they may.

    The hold of a fault is not a motion to be made well but one to be ended: it is commanded at once, at most at top
    speed, so that no fault takes longer to end than to say. Every other command keeps every limit.
    """

    def __init__(self, robot: RobotSpec, limits: Limits) -> None:
        self._limits, self._arm = limits, np.flatnonzero(~robot.is_gripper)
        self._motion_limits = MotionLimits(
            *(robot.limits(quantity)[self._arm] for quantity in ("max_velocity", "max_acceleration", "max_jerk"))
        )
        self._tracker = Tracker(limits.lower[self._arm], limits.upper[self._arm], self._motion_limits)
        self._grippers = Grippers(robot)
        self._grip = np.zeros(len(robot.joints))

    @property
    def failures(self) -> int:
        """How often the way could not be calculated, and the arm braked instead."""
        return self._tracker.failures

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
        """The command `dt_s` after `last`. due: (A,) what the plan says for now, of which grippers take their part."""
        if due is not None:
            self._grip = self._grippers.decided(np.asarray(due, dtype=np.float64))
        state = self._tracker.step(now_ns, dt_s)
        position = self._limits.with_margin(self._grip)
        position[self._arm] = state[0]
        position = self._limits.slowed(position, last, dt_s)  # the limits have the last word
        velocity = (position - last) / dt_s if dt_s > 0 else np.zeros(len(last))
        velocity[self._arm] = state[1]
        return Command(position, velocity)

    def hold(self, target: Positions, last: Positions, dt_s: float) -> Command:
        """Back to (A,) `target`, and no velocity."""
        return Command(self._limits.held(target, last, dt_s), np.zeros(len(last)))
