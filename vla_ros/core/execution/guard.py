"""The last word on every command: DISARMED commands nothing, ARMED lets good commands pass, FAULT brings to rest.

A fault is latched: the commanded motion ends as fast as its limits allow, from the last command on, and stands still
until `arm()` succeeds. It never aims at what was measured, which may be the very thing that is wrong. Only where the
arm does not follow is the command taken back to where the arm is believed to be, so that it stops pushing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vla_ros.core.execution.belief import SETTLED_READINGS, Belief
from vla_ros.core.execution.faults import Faults
from vla_ros.core.execution.knots import Knots
from vla_ros.core.execution.limits import Limits, Positions, clamp
from vla_ros.core.execution.mover import Command, Mover
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
        is believed to be elsewhere; a stop ramps it down to zero. None where the command is.
    moment_ns: the moment that the command is for, within half a period of when it was asked for; None likewise.
    """

    command: Positions | None
    mode: Mode
    reason: str = ""
    velocity: Positions | None = None
    moment_ns: int | None = None


class Guard:
    """A pure state machine: time and measurements come in as arguments. Not thread-safe; one owner.

    The owner clears its plan whenever `arm()` succeeds: motion starts from a plan that arrives after it. It clears it
    too while the guard is `waiting`: a stale plan brings the arm to rest, and a fresh one moves it again.

    seen: (A,) the newest reading of all, whether it was taken or not.
    """

    def __init__(self, robot: RobotSpec) -> None:
        self.limits = Limits(robot)
        self.mode = Mode.DISARMED
        self.reason = "never armed"
        self._faults, self._mover = Faults(robot, self.limits), Mover(robot, self.limits)
        self._belief = Belief(robot, self.limits)
        self._spec = robot.guard
        self._keep_grip = robot.is_gripper & (robot.guard.gripper_hold == "commanded")
        self._period_ns = round(NS_PER_S / robot.command.rate_hz)
        self._by_velocity = _by_velocity(robot)
        self._sends_velocity = bool(self._by_velocity.any())
        self._max_acceleration = robot.limits("max_acceleration")
        self.seen: Positions | None = None
        self._last: Positions | None = None
        self._last_ns = 0  # what the last command was for
        self._row_ns = 0  # the last place in the row of periods
        self._speeds = np.zeros(len(robot.joints))  # sent last
        self._waiting_ns: tuple[int, int] | None = None  # since when, and the stamp of the stale plan
        self._strayed = False  # whether the reading has jumped away from what is commanded
        self._lagging = 0  # readings in a row that are further from the command than a robot that follows
        self._go_back = False  # whether a stopped arm that does not follow is to be taken back to where it is

    @property
    def last_command(self) -> Positions | None:
        """(A,) the last command that was passed; None while disarmed."""
        return self._last

    @property
    def believed(self) -> Positions | None:
        """(A,) where the robot is believed to be; None before the first reading."""
        return self._belief.position

    @property
    def hold(self) -> Positions | None:
        """(A,) where the robot stands, or comes to rest; None while disarmed or under a plan."""
        return self._mover.rest() if self._last is not None and self._mover.braking else None

    @property
    def waiting(self) -> bool:
        """Whether the plan is stale, and a fresh one that comes in time is followed."""
        return self._waiting_ns is not None

    @property
    def at_rest(self) -> bool:
        """Whether the last command stands still: nothing moves any more unless there is another plan."""
        return self._last is None or (self._mover.at_rest(self._last) and not (self._speeds * self._by_velocity).any())

    def stopping_distance(self) -> Positions:
        """Return (A,) how far no stop from the last command goes; 0 for grippers."""
        return self._mover.stopping_distance()

    def measure(self, stamp_ns: int, positions: ArrayLike, now_ns: int) -> str | None:
        """Take (A,) measured positions. Returns why they are refused, or None. What is not believed is a fault."""
        reading = np.array(positions, dtype=np.float64)
        self.seen = reading
        refusal = self._faults.of_message(stamp_ns, self._belief.stamp_ns, reading, now_ns)
        if refusal is not None:
            return refusal
        first, doubt = self._belief.position is None, self._belief.take(stamp_ns, reading)
        if doubt is not None:
            self._lagging, self._go_back = 0, False
            self.stop(doubt)
            return doubt
        if first or self._belief.jump:
            self._found(self._belief.jump)
        self._lagging = self._lagging + 1 if self._lags() else 0
        return None

    def arm(self, now_ns: int) -> str | None:
        """Leave DISARMED or FAULT. Returns why not, or None: armed, holding still, waiting for a plan."""
        refusal = self._not_ready(now_ns)
        if refusal is not None:
            return f"not armed: {refusal}"
        if self.mode is Mode.ARMED:
            return None
        believed = self._belief.position
        assert believed is not None  # else refused
        self.mode, self.reason, self._waiting_ns, self._strayed, self._go_back = Mode.ARMED, "", None, False, False
        if self._last is not None and not self.at_rest:
            return None  # it goes on coming to rest
        self._last_ns = now_ns - self._period_ns
        if self._last is None or self._sends_velocity or self.limits.lags(self._last, believed):
            self._last, self._speeds = believed, np.zeros(len(believed))
            self._mover.start(believed, now_ns)
        else:
            self._mover.start(self._last, now_ns)  # what stands still needs no step, however little it sags
            if self._belief.apart(self._last):
                self._mover.go_to(believed)
        return None

    def disarm(self, reason: str = "disarmed") -> None:
        """Command nothing from now on."""
        self.mode, self.reason, self._last, self._waiting_ns = Mode.DISARMED, reason, None, None
        self._go_back = False
        self._speeds = np.zeros(len(self._speeds))

    def stop(self, reason: str = "stop requested") -> None:
        """Fault now. While disarmed nothing moves, and nothing changes."""
        if self.mode is Mode.ARMED:
            self._fault(reason)

    def clock_jumped(self) -> None:
        """Forget measurements, whose time no longer counts, and stop an armed robot: the clock went back."""
        self.stop("the clock jumped back")
        self._go_back = False
        self._belief.forget()
        self._last_ns = 0

    def check_plan(self, chunk: ActionChunk, now_ns: int) -> str | None:
        """Return what forbids executing `chunk`, or None. While armed, a wrong plan is a fault: stop, do not guess.

        While waiting, one that begins far from the arm is only refused: it was made for an arm that still moved.
        """
        wrong = self._faults.of_plan(chunk)
        far = None if wrong is not None else self._faults.of_start(chunk, self._belief.position, now_ns)
        if wrong is not None or (far is not None and not self.waiting):
            self.stop(wrong or far or "")
        return wrong or far

    def follow(self, knots: Knots, now_ns: int) -> None:
        """Let an armed robot go along `knots` (A columns) from now on."""
        if self.mode is Mode.ARMED:
            self.reason, self._waiting_ns = "", None
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
            self._judge(command, plan_ns, now_ns)
        self._take_back()
        moment_ns = self._moment(now_ns, periodic)
        # A late tick moves no further than a punctual one: the stream never holds a step above v_max * period.
        elapsed_s = min(max(moment_ns - self._last_ns, 0), self._period_ns) / NS_PER_S
        sent = self._next(command, moment_ns, elapsed_s)
        self._last, self._last_ns = sent.position, moment_ns
        self._speeds = self._velocity(sent, elapsed_s)
        return Verdict(sent.position, self.mode, self.reason, self._speeds, moment_ns)

    def _found(self, jump: str) -> None:
        """Note that the robot is suddenly read elsewhere.

        Only a person can tell whether it is: no command follows it there.
        """
        believed = self._belief.position
        assert believed is not None  # just taken
        self._strayed = self._last is not None and self.limits.lags(self._last, believed) is not None
        if jump and self.mode is Mode.FAULT:
            self.reason = f"{self.reason.split('; now ')[0]}; now {jump}"

    def _not_ready(self, now_ns: int) -> str | None:
        """Return why motion may not begin."""
        belief = self._belief
        refusal = belief.doubt(now_ns) or self._faults.of_states(belief.stamp_ns, now_ns) or belief.unsettled()
        if refusal is not None or belief.position is None:
            return refusal
        if self._strayed and self._last is not None and (lag := self.limits.lags(self._last, belief.position)):
            return f"{lag}, or its reading jumped. Look at the robot, then deactivate and activate the commander"
        return self._faults.of_place(belief.position)

    def _judge(self, command: ArrayLike | None, plan_ns: int | None, now_ns: int) -> None:
        """Stop for whatever is wrong; wait where it is only that no fresh plan comes."""
        believed = self._belief.position
        assert believed is not None and self._last is not None  # armed means measured
        lost, lag = self._faults.of_states(self._belief.stamp_ns, now_ns), self.limits.lags(self._last, believed)
        if lost is not None:
            self._fault(lost)
        elif lag is not None:  # by old joint states, any arm that moves fast seems to lag: no reason to go back
            self._fault(lag, go_back=self._belief.age_s(now_ns) <= self._spec.joint_state_timeout_s / 2)
        elif self._waiting_ns is not None:
            since_ns, plan_ns = self._waiting_ns
            if now_ns - since_ns > self._spec.resume_within_s * NS_PER_S:
                late = f"none came in its place within {self._spec.resume_within_s:g} s"
                self._fault(f"{self._faults.of_age(plan_ns, now_ns)}; {late}")
        elif plan_ns is not None and (stale := self._faults.of_age(plan_ns, now_ns)):
            self._wait(stale, plan_ns, now_ns)
        elif wrong := self._faults.of_command(command, believed):
            self._fault(wrong)

    def _velocity(self, sent: Command, elapsed_s: float) -> Positions:
        """Return the velocity to send. Alone, it would leave a robot wherever a late tick or its drive took it."""
        believed = self._belief.position
        if not self._sends_velocity or self.mode is not Mode.ARMED or self.waiting or believed is None:
            return sent.velocity
        top, change = self.limits.max_velocity, self._max_acceleration * elapsed_s
        wanted = clamp(sent.velocity + RETURN_PER_S * (sent.position - believed), -top, top)
        return np.where(self._by_velocity, clamp(wanted, self._speeds - change, self._speeds + change), sent.velocity)

    def _moment(self, now_ns: int, periodic: bool) -> int:
        """Return the moment to command for.

        Receivers expect even spacing, so a slightly early or late periodic check counts as on time.
        """
        moment_ns = now_ns
        if periodic:
            due_ns = self._row_ns + self._period_ns
            if -self._period_ns // 4 <= now_ns - due_ns <= self._period_ns // 2:
                moment_ns = due_ns
            self._row_ns = moment_ns
        ahead_ns = self._last_ns - moment_ns  # of a check that came early, or of one between a late one and its place
        return self._last_ns if 0 < ahead_ns <= self._period_ns // 2 else moment_ns

    def _next(self, due: ArrayLike | None, moment_ns: int, elapsed_s: float) -> Command:
        """Return the next command, or a stop from the previous one if the robot could not stop in time after it."""
        assert self._last is not None  # set by arm()
        follows = self.mode is Mode.ARMED and not self._mover.braking
        before = self._mover.motion
        command = self._mover.move(due if follows else None, self._last, moment_ns, elapsed_s)
        if not follows:
            return command
        outside = self._faults.of_stop(self._mover, command.position)
        if outside is None:
            return command
        self._mover.take_back(before)
        self._fault(outside)
        return self._mover.move(None, self._last, moment_ns, elapsed_s)

    def _wait(self, stale: str, plan_ns: int, now_ns: int) -> None:
        if not self._spec.resume_within_s:
            self._fault(stale)
            return
        self.reason, self._waiting_ns = f"waiting for a fresh plan: {stale}", (now_ns, plan_ns)
        self._brake(None)

    def _lags(self) -> bool:
        believed = self._belief.position
        return self._last is not None and believed is not None and self.limits.lags(self._last, believed) is not None

    def _take_back(self) -> None:
        """Take a stopped arm that does not follow back to where it is, so that it stops pushing.

        Only after several readings in a row have put it there: a single one may lie, and must not move it.
        """
        believed = self._belief.position
        if not self._go_back or self._lagging < SETTLED_READINGS or believed is None:
            return
        self._go_back = False
        if not self._sends_velocity and self._faults.of_tool(believed) is None:
            self._mover.go_to(believed)

    def _fault(self, reason: str, go_back: bool = False) -> None:
        """Latch a fault and brake. go_back: to where an arm that does not follow is, once that is sure."""
        believed = self._belief.position
        assert believed is not None and self._last is not None  # set by arm()
        self.mode, self.reason, self._waiting_ns, self._go_back = Mode.FAULT, reason, None, go_back
        self._brake(np.where(self._keep_grip, self._last, believed))

    def _brake(self, grip: Positions | None) -> None:
        self._mover.stop(grip, np.where(self._by_velocity, self._speeds, np.nan) if self._sends_velocity else None)


def _by_velocity(robot: RobotSpec) -> NDArray[np.bool_]:
    """Return (A,) which joints are sent velocities."""
    found = np.zeros(len(robot.joints), dtype=np.bool_)
    for spec, columns in robot.outputs:
        found[list(columns)] = spec.interface == "velocity"
    return found
