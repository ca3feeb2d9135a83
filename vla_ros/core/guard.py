"""The last word on every command: DISARMED commands nothing, ARMED lets good commands pass, FAULT holds still.

A fault is latched: it captures the last measured position once, and holds it until `arm()` succeeds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vla_ros.core.limits import Limits, Positions
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import NS_PER_S, ActionChunk


class Mode(enum.Enum):
    """What the guard lets happen."""

    DISARMED = "disarmed"
    ARMED = "armed"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to send now.

    command: (A,) float64 positions; None: send nothing.
    mode, reason: the state after this check; the reason is empty while all is well.
    clamped: the limits changed the command.
    """

    command: Positions | None
    mode: Mode
    reason: str = ""
    clamped: bool = False


class Guard:
    """A pure state machine: time and measurements come in as arguments. Not thread-safe; one owner.

    The owner clears its plan whenever `arm()` succeeds: motion starts from a plan that arrives after it.
    """

    def __init__(self, robot: RobotSpec) -> None:
        self.limits = Limits(robot)
        self.mode = Mode.DISARMED
        self.reason = "never armed"
        self._spec = robot.guard
        self._max_ahead_s = robot.sync.max_ahead_s
        self._keep_grip = robot.is_gripper & (robot.guard.gripper_hold == "commanded")
        self._period_ns = round(NS_PER_S / robot.command.rate_hz)
        self._hold: Positions | None = None
        self._last: Positions | None = None
        self._last_ns = 0
        self._measured: Positions | None = None
        self._measured_ns: int | None = None

    @property
    def last_command(self) -> Positions | None:
        """(A,) the last command that was passed; None while disarmed."""
        return self._last

    @property
    def hold(self) -> Positions | None:
        """(A,) the position held in a fault or before the first plan."""
        return self._hold

    def measure(self, stamp_ns: int, positions: ArrayLike, now_ns: int) -> str | None:
        """Take (A,) measured positions. Returns why they are refused, or None."""
        measured = np.array(positions, dtype=np.float64)
        if measured.shape != (len(self.limits.names),):
            return f"joint states have shape {measured.shape}; right would be ({len(self.limits.names)},)"
        if self._measured_ns is not None and stamp_ns <= self._measured_ns:
            return "joint states are not newer than the last ones"
        ahead_s = (stamp_ns - now_ns) / NS_PER_S
        if ahead_s > self._max_ahead_s:
            return f"joint states are stamped {ahead_s:.2f} s in the future (limit {self._max_ahead_s} s)"
        broken = self.limits.not_finite(measured)
        if broken is not None:
            return f"joint states are {broken}"
        self._measured, self._measured_ns = measured, stamp_ns
        return None

    def arm(self, now_ns: int) -> str | None:
        """Leave DISARMED or FAULT. Returns why not, or None: armed, holding still, waiting for a plan."""
        refusal = self._state_fault(now_ns)
        if refusal is None and self._measured is not None:
            refusal = self.limits.far_outside(self._measured)
        if refusal is not None:
            return f"not armed: {refusal}"
        if self.mode is Mode.ARMED:
            return None
        self.mode, self.reason = Mode.ARMED, ""
        assert self._measured is not None  # _state_fault would have refused
        if self._last is None or self.limits.far_from(self._last, self._measured):
            self._last = self._measured  # moved by hand meanwhile: start from where the robot is
        self._hold, self._last_ns = self._measured, now_ns - self._period_ns
        return None

    def disarm(self, reason: str = "disarmed") -> None:
        """Command nothing from now on."""
        self.mode, self.reason, self._hold, self._last = Mode.DISARMED, reason, None, None

    def stop(self, reason: str = "stop requested") -> None:
        """Fault now. While disarmed nothing moves, and nothing changes."""
        if self.mode is Mode.ARMED:
            self._fault(reason)

    def clock_jumped(self) -> None:
        """The clock went back: measurements of the old time are worth nothing; an armed robot stops."""
        self.stop("the clock jumped back")
        self._measured_ns = None
        self._last_ns = 0

    def check_plan(self, chunk: ActionChunk, now_ns: int) -> str | None:
        """What forbids executing `chunk`, or None. While armed, a wrong plan is a fault: stop rather than guess."""
        wrong = self._plan_fault(chunk, now_ns)
        if wrong is not None:
            self.stop(wrong)
        return wrong

    def check(self, command: ArrayLike | None, plan_ns: int | None, now_ns: int) -> Verdict:
        """Judge one command, once a control period.

        command: (A,) what the plan asks for now; None where it asks for nothing.
        plan_ns: the stamp of the observation that the plan answers; None before the first plan after arming.
        """
        if self.mode is Mode.DISARMED:
            return Verdict(None, self.mode, self.reason)
        if self.mode is Mode.ARMED:
            fault = self._state_fault(now_ns) or self._command_fault(command, plan_ns, now_ns)
            if fault is not None:
                self._fault(fault)
        moving = self.mode is Mode.ARMED and command is not None
        return self._send(command if moving and command is not None else self._still(), moving, now_ns)

    def _still(self) -> Positions:
        """The hold of a fault; while armed, wherever the commands have got to."""
        still = self._hold if self.mode is Mode.FAULT else self._last
        assert still is not None  # armed or in fault, a measurement was there
        return still

    def _send(self, target: ArrayLike, moving: bool, now_ns: int) -> Verdict:
        assert self._last is not None  # set by arm()
        # A late tick moves no further than a punctual one: the stream never holds a step above v_max * period.
        elapsed_s = min(max(now_ns - self._last_ns, 0), self._period_ns) / NS_PER_S
        bound = self.limits.bounded if moving else self.limits.held
        command = bound(target, self._last, elapsed_s)
        self._last, self._last_ns = command, now_ns
        return Verdict(command, self.mode, self.reason, clamped=bool(np.any(command != np.asarray(target))))

    def _fault(self, reason: str) -> None:
        assert self._measured is not None and self._last is not None  # armed means measured
        self.mode, self.reason = Mode.FAULT, reason
        self._hold = np.where(self._keep_grip, self._last, self._measured)

    def _state_fault(self, now_ns: int) -> str | None:
        if self._measured_ns is None:
            return "joint states are missing"
        age_s = (now_ns - self._measured_ns) / NS_PER_S
        if age_s < -self._max_ahead_s:
            return f"joint states are stamped {-age_s:.2f} s in the future (limit {self._max_ahead_s} s)"
        if age_s > self._spec.joint_state_timeout_s:
            return f"joint states are stale: {age_s:.2f} s old (limit {self._spec.joint_state_timeout_s} s)"
        return None

    def _command_fault(self, command: ArrayLike | None, plan_ns: int | None, now_ns: int) -> str | None:
        if plan_ns is not None:
            age_s = (now_ns - plan_ns) / NS_PER_S
            if age_s > self._spec.plan_timeout_s:
                return f"the plan is stale: {age_s:.2f} s old (limit {self._spec.plan_timeout_s} s)"
        if command is None:
            return None
        broken = self.limits.not_finite(command)
        if broken is not None:
            return f"the command is {broken}"
        assert self._measured is not None  # _state_fault came first
        return self.limits.far_outside(command) or self.limits.far_from(command, self._measured)

    def _plan_fault(self, chunk: ActionChunk, now_ns: int) -> str | None:
        if chunk.names != self.limits.names:
            return f"the plan is for the joints {', '.join(chunk.names)}; right would be {', '.join(self.limits.names)}"
        broken = self.limits.not_finite(chunk.actions)
        if broken is not None:
            return f"the plan is {broken}"
        due = chunk.actions[int(np.searchsorted(chunk.due_ns, now_ns, side="right")) :]
        if self._measured is None or not len(due):
            return self.limits.far_outside(chunk.actions)
        return self.limits.far_outside(chunk.actions) or self.limits.far_from(due[0], self._measured)
