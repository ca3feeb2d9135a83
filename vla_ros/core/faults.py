"""What makes a robot stop: each question is answered with a sentence, or None where all is well."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from vla_ros.core.kinematics import Workspace
from vla_ros.core.limits import Limits, Positions
from vla_ros.core.robot import RobotSpec
from vla_ros.core.text import listed
from vla_ros.core.types import NS_PER_S, ActionChunk


class Faults:
    """The questions that the guard asks of joint states, commands and plans."""

    def __init__(self, robot: RobotSpec, limits: Limits) -> None:
        self._limits, self._spec = limits, robot.guard
        self._max_ahead_s = robot.sync.max_ahead_s
        self._workspace = Workspace(robot.workspace, robot.joint_names) if robot.workspace else None

    def of_message(self, stamp_ns: int, newest_ns: int | None, positions: Positions, now_ns: int) -> str | None:
        """Why joint states are not to be taken; a refused message is no reason to stop."""
        if positions.shape != (len(self._limits.names),):
            return f"joint states have shape {positions.shape}; right would be ({len(self._limits.names)},)"
        if newest_ns is not None and stamp_ns <= newest_ns:
            return "joint states are not newer than the last ones"
        broken = self._limits.not_finite(positions)
        return self._ahead((now_ns - stamp_ns) / NS_PER_S) or (f"joint states are {broken}" if broken else None)

    def of_states(self, measured_ns: int | None, now_ns: int) -> str | None:
        """Why the last joint states cannot be relied on."""
        if measured_ns is None:
            return "joint states are missing"
        age_s = (now_ns - measured_ns) / NS_PER_S
        if age_s > self._spec.joint_state_timeout_s:
            return f"joint states are stale: {age_s:.2f} s old (limit {self._spec.joint_state_timeout_s} s)"
        return self._ahead(age_s)

    def of_place(self, positions: ArrayLike) -> str | None:
        """What is wrong with standing at (A,) or going through (H, A) finite positions."""
        return self._limits.far_outside(positions) or self.of_tool(positions)

    def of_tool(self, positions: ArrayLike) -> str | None:
        """How far (A,) or (H, A) finite positions take the tool out of its workspace."""
        return None if self._workspace is None else self._workspace.outside(positions)

    def of_command(
        self, command: ArrayLike | None, plan_ns: int | None, measured: Positions, now_ns: int
    ) -> str | None:
        """What is wrong with (A,) a command that a plan of the stamp `plan_ns` asks for; None: it asks for nothing.

        The workspace is not asked for here but for what is sent (`of_tool`), which is smoother than the plan.
        """
        if plan_ns is not None:
            age_s = (now_ns - plan_ns) / NS_PER_S
            if age_s > self._spec.plan_timeout_s:
                return f"the plan is stale: {age_s:.2f} s old (limit {self._spec.plan_timeout_s} s)"
        if command is None:
            return None
        broken = self._limits.not_finite(command)
        if broken is not None:
            return f"the command is {broken}"
        return self._limits.far_outside(command) or self._limits.far_from(command, measured)

    def of_plan(self, chunk: ActionChunk, measured: Positions | None, now_ns: int) -> str | None:
        """What is wrong with a chunk: other joints, not finite, out of limits or workspace, far from the robot."""
        names = self._limits.names
        if chunk.names != names:
            return f"the plan is for the joints {listed(chunk.names)}; the robot's are {listed(names)}"
        broken = self._limits.not_finite(chunk.actions)
        if broken is not None:
            return f"the plan is {broken}"
        due = chunk.actions[int(np.searchsorted(chunk.due_ns, now_ns, side="right")) :]
        if measured is None or not len(due):
            return self.of_place(chunk.actions)
        return self.of_place(chunk.actions) or self._limits.far_from(due[0], measured)

    def _ahead(self, age_s: float) -> str | None:
        if age_s >= -self._max_ahead_s:
            return None
        return f"joint states are stamped {-age_s:.2f} s in the future (limit {self._max_ahead_s} s)"
