"""The last word on every command: DISARMED commands nothing, ARMED lets good commands pass, FAULT holds still.

A fault is latched: it captures the last measured position once, and holds it until `arm()` succeeds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vla_ros.core.faults import Faults
from vla_ros.core.knots import Knots
from vla_ros.core.limits import Limits, Positions, clamp
from vla_ros.core.mover import Command, Mover
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import NS_PER_S, ActionChunk

RETURN_PER_S = 2.0  # of how far the robot is from its command, for outputs that want velocities


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
    velocity: (A,) float64, of the commanded motion, and for outputs that want velocities back to it where the robot
        was measured elsewhere; zero in a hold, None where the command is.
    moment_ns: the moment that the command is for, within half a period of when it was asked for; None likewise.
    """

    command: Positions | None
    mode: Mode
    reason: str = ""
    velocity: Positions | None = None
    moment_ns: int | None = None


class Guard:
    """A pure state machine: time and measurements come in as arguments. Not thread-safe; one owner.

    The owner clears its plan whenever `arm()` succeeds: motion starts from a plan that arrives after it.
    """

    def __init__(self, robot: RobotSpec) -> None:
        self.limits = Limits(robot)
        self.mode = Mode.DISARMED
        self.reason = "never armed"
        self._faults, self._mover = Faults(robot, self.limits), Mover(robot, self.limits)
        self._keep_grip = robot.is_gripper & (robot.guard.gripper_hold == "commanded")
        self._period_ns = round(NS_PER_S / robot.command.rate_hz)
        self._sends_velocity = any(spec.interface == "velocity" for spec, _ in robot.outputs)
        self._hold: Positions | None = None
        self._last: Positions | None = None
        self._last_ns = 0  # what the last command was for
        self._row_ns = 0  # the last place in the row of periods
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
        refusal = self._faults.of_message(stamp_ns, self._measured_ns, measured, now_ns)
        if refusal is None:
            self._measured, self._measured_ns = measured, stamp_ns
        return refusal

    def arm(self, now_ns: int) -> str | None:
        """Leave DISARMED or FAULT. Returns why not, or None: armed, holding still, waiting for a plan."""
        refusal = self._faults.of_states(self._measured_ns, now_ns)
        if refusal is None and self._measured is not None:
            refusal = self._faults.of_place(self._measured)
        if refusal is not None:
            return f"not armed: {refusal}"
        if self.mode is Mode.ARMED:
            return None
        self.mode, self.reason = Mode.ARMED, ""
        assert self._measured is not None  # else refused
        if self._last is None or self.limits.lags(self._last, self._measured):
            self._last = self._measured  # moved by hand meanwhile: start from where the robot is
        self._hold, self._last_ns = self._measured, now_ns - self._period_ns
        self._mover.start(self._last, now_ns)
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
        wrong = self._faults.of_plan(chunk, self._measured, now_ns)
        if wrong is not None:
            self.stop(wrong)
        return wrong

    def follow(self, knots: Knots, now_ns: int) -> None:
        """Let an armed robot go along `knots` (A columns) from now on."""
        if self.mode is Mode.ARMED:
            self._mover.follow(knots, now_ns)

    @property
    def tracking_failures(self) -> int:
        """How often a way along the plan could not be calculated, and the arm braked instead."""
        return self._mover.failures

    def check(self, command: ArrayLike | None, plan_ns: int | None, now_ns: int, periodic: bool = True) -> Verdict:
        """Judge one command, once a control period, and where `periodic` is false in between.

        command: (A,) what the plan asks for now; None where it asks for nothing.
        plan_ns: the stamp of the observation that the plan answers; None before the first plan after arming.
        """
        if self.mode is Mode.DISARMED:
            return Verdict(None, self.mode, self.reason)
        if self.mode is Mode.ARMED:
            assert self._measured is not None and self._last is not None  # armed means measured
            fault = self._faults.of_states(self._measured_ns, now_ns) or self.limits.lags(self._last, self._measured)
            fault = fault or self._faults.of_command(command, plan_ns, self._measured, now_ns)
            if fault is not None:
                self._fault(fault)
        moment_ns = self._moment(now_ns, periodic)
        sent = self._next(command, moment_ns)
        self._last, self._last_ns = sent.position, moment_ns
        return Verdict(sent.position, self.mode, self.reason, self._velocity(sent), moment_ns)

    def _velocity(self, sent: Command) -> Positions:
        """Velocities alone would leave a robot wherever a late tick or its drive has carried it."""
        if not self._sends_velocity or self.mode is not Mode.ARMED or self._measured is None:
            return sent.velocity
        top = self.limits.max_velocity
        return clamp(sent.velocity + RETURN_PER_S * (sent.position - self._measured), -top, top)

    def _moment(self, now_ns: int, periodic: bool) -> int:
        """What moment to command for. Receivers take commands to be evenly spaced, so a periodic check that comes a
        little early or late stands for its place in the row."""
        moment_ns = now_ns
        if periodic:
            due_ns = self._row_ns + self._period_ns
            if -self._period_ns // 4 <= now_ns - due_ns <= self._period_ns // 2:
                moment_ns = due_ns
            self._row_ns = moment_ns
        ahead_ns = self._last_ns - moment_ns  # of a check that came early, or of one between a late one and its place
        return self._last_ns if 0 < ahead_ns <= self._period_ns // 2 else moment_ns

    def _next(self, due: ArrayLike | None, moment_ns: int) -> Command:
        assert self._last is not None and self._hold is not None  # set by arm()
        # A late tick moves no further than a punctual one: the stream never holds a step above v_max * period.
        elapsed_s = min(max(moment_ns - self._last_ns, 0), self._period_ns) / NS_PER_S
        if self.mode is Mode.ARMED:
            command = self._mover.move(due, self._last, moment_ns, elapsed_s)
            outside = self._faults.of_tool(command.position)
            if outside is None:
                return command
            self._fault(outside)
        return self._mover.hold(self._hold, self._last, elapsed_s)

    def _fault(self, reason: str) -> None:
        assert self._measured is not None and self._last is not None  # set by arm()
        self.mode, self.reason = Mode.FAULT, reason
        self._hold = np.where(self._keep_grip, self._last, self._measured)
