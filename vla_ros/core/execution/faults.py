"""What makes a robot stop: each question is answered with a sentence, or None where all is well."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from vla_ros.core.execution.limits import Limits, Positions
from vla_ros.core.execution.mover import Mover
from vla_ros.core.kinematics.chain import Workspace
from vla_ros.core.robot import RobotSpec
from vla_ros.core.text import listed
from vla_ros.core.types import NS_PER_S, ActionChunk

STOP_PIECES = 4  # places on the way to a stop at which the tool is looked for


class Faults:
    """The questions that the guard asks of joint states, commands and plans."""

    def __init__(self, robot: RobotSpec, limits: Limits) -> None:
        self._limits, self._spec = limits, robot.guard
        self._max_ahead_s = robot.sync.max_ahead_s
        self._workspace = Workspace(robot.workspace, robot.joint_names) if robot.workspace else None

    def of_message(self, stamp_ns: int, newest_ns: int | None, positions: Positions, now_ns: int) -> str | None:
        """Return why joint states are not to be taken; a refused message is no reason to stop."""
        if positions.shape != (len(self._limits.names),):
            return f"joint states must have shape ({len(self._limits.names)},), got {positions.shape}"
        if newest_ns is not None and stamp_ns <= newest_ns:
            return "joint states are not newer than the last ones"
        return self._ahead((now_ns - stamp_ns) / NS_PER_S)

    def of_states(self, measured_ns: int | None, now_ns: int) -> str | None:
        """Return why the last joint states cannot be relied on."""
        if measured_ns is None:
            return "joint states are missing"
        age_s = (now_ns - measured_ns) / NS_PER_S
        if age_s > self._spec.joint_state_timeout_s:
            return f"joint states are stale: {age_s:.2f} s old (limit {self._spec.joint_state_timeout_s} s)"
        return self._ahead(age_s)

    def of_place(self, positions: ArrayLike) -> str | None:
        """Return what is wrong with standing at (A,) or going through (H, A) finite positions."""
        return self._limits.far_outside(positions) or self.of_tool(positions)

    def of_tool(self, positions: ArrayLike) -> str | None:
        """Return how far (A,) or (H, A) finite positions take the tool out of its workspace."""
        return None if self._workspace is None else self._workspace.outside(positions)

    def of_stop(self, mover: Mover, last: Positions) -> str | None:
        """Return how far the tool would leave its workspace if the robot had to stop after the command `last`, (A,).

        Exact, and so expensive, only where the workspace could be left at all.
        """
        space = self._workspace
        if space is None or space.clearance(last) > mover.stopping_distance() @ space.lever:
            return None
        outside = space.outside(mover.way_to_stop(last, STOP_PIECES))
        return outside and f"it could not stop in time: {outside}"

    def of_age(self, plan_ns: int | None, now_ns: int) -> str | None:
        """Return how stale a plan with the stamp `plan_ns` is, or None; None before the first plan."""
        if plan_ns is None:
            return None
        age_s = (now_ns - plan_ns) / NS_PER_S
        if age_s <= self._spec.plan_timeout_s:
            return None
        return f"the plan is stale: {age_s:.2f} s old (limit {self._spec.plan_timeout_s} s)"

    def of_command(self, command: ArrayLike | None, believed: Positions) -> str | None:
        """Return what is wrong with the (A,) command that a plan asks for now; None asks for nothing.

        The workspace is not asked for here but for what is sent (`of_stop`), which is smoother than the plan.
        """
        if command is None:
            return None
        broken = self._limits.not_finite(command)
        if broken is not None:
            return f"the command is {broken}"
        return self._limits.far_outside(command) or self._limits.far_from(command, believed)

    def of_plan(self, chunk: ActionChunk) -> str | None:
        """Return what is wrong with a chunk, wherever the robot is: joints, values, limits or workspace."""
        names = self._limits.names
        if chunk.names != names:
            return f"the plan is for the joints {listed(chunk.names)}; the robot's are {listed(names)}"
        broken = self._limits.not_finite(chunk.actions)
        return f"the plan is {broken}" if broken is not None else self.of_place(chunk.actions)

    def of_start(self, chunk: ActionChunk, believed: Positions | None, now_ns: int) -> str | None:
        """Return how far the robot is from what a chunk asks of it next."""
        due = chunk.actions[int(np.searchsorted(chunk.due_ns, now_ns, side="right")) :]
        return None if believed is None or not len(due) else self._limits.far_from(due[0], believed)

    def _ahead(self, age_s: float) -> str | None:
        if age_s >= -self._max_ahead_s:
            return None
        return f"joint states are stamped {-age_s:.2f} s in the future (limit {self._max_ahead_s} s)"
