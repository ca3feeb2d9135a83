"""The commander: chunks and joint states in, safe joint commands out. Small, numpy only, in a process of its own."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: its threads would only disturb the control period

import math
import threading
import time
from dataclasses import dataclass

from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_ros.core.errors import ContractError, MessageError
from vla_ros.core.execution.commander import Commander
from vla_ros.core.execution.guard import Mode, Verdict
from vla_ros.core.execution.modes import blend_of
from vla_ros.core.robot import load_robot
from vla_ros.core.text import shorten
from vla_ros.core.types import NS_PER_S
from vla_ros.ros.commanding import dead_man
from vla_ros.ros.commanding.arm_requests import ArmRequests
from vla_ros.ros.commanding.aside import Aside
from vla_ros.ros.commanding.dead_man import DeadMan
from vla_ros.ros.commanding.figures import Figures
from vla_ros.ros.commanding.intake import CHUNK, Intake
from vla_ros.ros.commanding.outputs import Outputs
from vla_ros.ros.commanding.rivals import rivals_of
from vla_ros.ros.commanding.stop_listener import StopListener
from vla_ros.ros.convert import to_ns, trajectory_to_chunk
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report
from vla_ros.ros.parameters import declare, parameter
from vla_ros.ros.process.clock_watch import ClockWatch, on_clock_jump
from vla_ros.ros.process.control_loop import ControlLoop
from vla_ros.ros.process.lifecycle import REST_S, ManagedNode, spin
from vla_ros.ros.process.scheduling import take_priority
from vla_ros.ros.qos import COMMAND, SIGN_OF_LIFE, STATES

# Right after a reader joins, DDS may leave it without best-effort messages for a third of a second.
AUTO_ARM_AFTER_S, AUTO_ARM_EVERY_S = 1.0, 0.1
EXTRA_S = 0.05  # between two commands out of turn: a flood of plans must not become a flood of commands
BEAT_S, LOOK_S = 0.05, 0.5
LOOP, CALLBACKS = "the control loop", "the callbacks"


@dataclass(frozen=True, slots=True)
class Parameters:
    """The commander's parameters."""

    robot: str = parameter("ur5e_tabletop", "robot contract: a YAML file, or a name in config/robots")
    execution: str = parameter(
        "receding_horizon",
        "how a new chunk takes over: receding_horizon, temporal_ensembling, cross_fade, real_time_chunking or switch",
    )
    autostart: bool = parameter(True, "configure and activate without a lifecycle manager")
    auto_arm: bool = parameter(False, "arm a second after activation, when joint states are there; for simulation only")
    dry_run: bool = parameter(False, "compute everything, publish no command")
    priority: int = parameter(
        0, "real-time priority (SCHED_FIFO), where the system permits it; 0: none", low=0, high=99
    )


class CommanderNode(ManagedNode):
    """Topics, services and the control loop around `core.execution.commander.Commander`, which decides everything."""

    def __init__(self) -> None:
        super().__init__("commander")
        self.parameters = declare(self, Parameters)
        self._loop: ControlLoop | None = None
        self._requests = ArmRequests(f"{self.get_fully_qualified_name()}/lock_out false")
        self._lock = threading.RLock()  # over the commander and its figures: the control loop has its own thread

    def configure(self) -> None:
        """Read the contract; make publishers, subscriptions and services."""
        self._robot = load_robot(self.parameters.robot)
        self._scheduling = take_priority(self.parameters.priority)
        self._commander = Commander(self._robot, blend_of(self.parameters.execution))
        self._period_ns = round(NS_PER_S / self._robot.command.rate_hz)
        self._simulated = bool(self.get_parameter("use_sim_time").value)
        self._extra_s, self._auto_armed_s, self._stops = -math.inf, -math.inf, 0
        self._told = (self._commander.guard.mode, False)
        self._intake = Intake(self, self._robot)
        self._outputs = self.own(Outputs(self, self._robot, self.parameters.dry_run))
        self._figures = self.own(Figures(self))
        self._diagnostics = self.own(Diagnostics(self, self._report, self._robot.name))
        self.own(on_clock_jump(self, self._jumped))
        self.own(
            ClockWatch(self, lambda: self._come_to_rest("the clock stands still"), lambda: self._commander.guard.seen)
        )
        self._dead_man = DeadMan(self.resolve_topic_name(dead_man.TOPIC), self._robot.guard.dead_man_s)
        self._hear_and_serve()
        self.get_logger().info(f"{self._robot.name}: disarmed; armed, it commands {self._robot.command.topic}")
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        for period_s, callback in ((BEAT_S, self._beat), (LOOK_S, self._look_around)):
            self.own(self.create_timer(period_s, callback, clock=steady))

    def _hear_and_serve(self) -> None:
        for kind, topic, callback, qos in (
            (JointTrajectory, "action_chunk", self._on_chunk, COMMAND),
            (JointState, self._robot.joint_states_topic, self._on_joint_state, STATES),
            (Empty, dead_man.TOPIC, lambda _: self._dead_man.heard(), SIGN_OF_LIFE),
        ):
            self.own(self.create_subscription(kind, topic, callback, qos))
        aside = self.own(Aside(self, self._break))
        self._stop_listener = self.own(StopListener(self, aside, self._stop_asked))
        self._rivals = rivals_of(self, aside, self._robot, self._outputs.topics)
        for kind, name, handler in (
            (Trigger, "~/arm", self._on_arm),
            (Trigger, "~/stop", self._on_stop),
            (SetBool, "~/lock_out", self._on_lock_out),
        ):
            self.own(self.create_service(kind, name, handler))

    def activate(self) -> None:
        """Start the control loop; still disarmed."""
        self._figures.begin()
        self._activated_s = time.monotonic()
        self._loop = ControlLoop(self, self._period_ns / NS_PER_S, self._control)

    def wind_down(self, reason: str) -> None:
        """Stop an armed robot; the control loop goes on until it is at rest."""
        if self._loop is not None:
            self._stop_asked(reason)

    @property
    def at_rest(self) -> bool:
        """Whether the last commands moved nothing, and the drivers have them."""
        if self._loop is None:
            return True
        with self._lock:
            resting = self._commander.at_rest
        if resting:
            self._outputs.flush()
        return resting

    def deactivate(self) -> None:
        """Bring to rest what moves, and send nothing more."""
        if self._loop is None:
            return
        self._loop.close()
        self._come_to_rest("the commander is shutting down")
        with self._lock:
            self._commander.disarm()
            self._loop = None
            self._told = (Mode.DISARMED, False)
            self._requests.rest(LOOP)
        self._outputs.flush()

    def _come_to_rest(self, reason: str) -> None:
        """A whole stop, by the wall clock: where simulated time stands still, or nothing else ticks any more."""
        if self._commander.guard.mode is not Mode.ARMED and self._commander.at_rest:
            return
        self._commander.stop(reason)
        begin_ns, begin_s, elapsed_s = self._now_ns(), time.monotonic(), 0.0
        while elapsed_s < REST_S:
            with self._lock:
                self._tick(begin_ns + round(elapsed_s * NS_PER_S))
                if self._commander.at_rest:
                    break
            time.sleep(self._period_ns / NS_PER_S)
            elapsed_s = time.monotonic() - begin_s
        self._requests.rest(CALLBACKS)  # they waited for this

    def close(self) -> None:
        """Come to rest, and leave the graph: what stayed behind would count as a rival of the next commander."""
        self.deactivate()
        self.give_back()

    def _break(self, error: Exception) -> None:
        self.broken = error

    def _now_ns(self) -> int:
        # Where no time is simulated, the node's clock is the system's, and takes twenty times as long to say so.
        return int(self.get_clock().now().nanoseconds) if self._simulated else time.time_ns()

    def _control(self) -> None:
        with self._lock:
            self._figures.period()
            if not self._simulated and (pause_s := self._requests.beat(LOOP)):  # simulated time may go slowly
                self._commander.stop(f"{LOOP} paused for {pause_s:.1f} s")
            if self._commander.guard.mode is Mode.ARMED and (why := self._dead_man.overdue()):
                self._commander.stop(why)
            self._arm_by_itself()
            self._tick(self._now_ns())

    def _arm_by_itself(self) -> None:
        wanted = self.parameters.auto_arm and self._commander.guard.mode is Mode.DISARMED
        now_s = self._figures.ticked_s
        settled = now_s - self._activated_s > AUTO_ARM_AFTER_S
        if wanted and settled and now_s - self._auto_armed_s > AUTO_ARM_EVERY_S:
            self._auto_armed_s = now_s
            self._arm(self._requests.barred())

    def _beat(self) -> None:
        """A pause here is no fault by itself: joint states that it kept waiting are."""
        with self._lock:
            self._requests.beat(CALLBACKS)

    def _look_around(self) -> None:
        reason = self._rivals.look()
        if reason is not None and self._commander.guard.mode is Mode.ARMED:
            self._stop(reason)

    def _tick_out_of_turn(self) -> None:
        """A change, such as a stop or the first command of a plan, need not wait for the control period."""
        now_s, guard = time.monotonic(), self._commander.guard
        if self._loop is not None and (guard.mode is not self._told[0] or now_s - self._extra_s > EXTRA_S):
            self._extra_s = now_s
            self._tick(self._now_ns(), periodic=False)

    def _tick(self, now_ns: int, *, periodic: bool = True) -> None:
        verdict = self._commander.tick(now_ns, periodic)
        self._outputs.publish(verdict, periodic)
        if self._commander.timing is not None:
            self._figures.chunk(self._commander.timing)
        self._tell_of(verdict)

    def _tell_of(self, verdict: Verdict) -> None:
        """Compared with what was told last: a fault may come with a plan or a service, between two ticks."""
        if (verdict.mode, bool(verdict.reason)) == self._told:
            return
        self._told = verdict.mode, bool(verdict.reason)
        if verdict.mode is Mode.FAULT:
            self.get_logger().error(f"stopping, and holding still: {shorten(verdict.reason)}")
        self._tell()

    def _on_joint_state(self, message: JointState) -> None:
        now_ns = self._now_ns()
        if (positions := self._intake.positions(message)) is None:
            return
        with self._lock:
            refusal = self._commander.on_state(to_ns(message.header.stamp), positions, now_ns)
        self._intake.judged(now_ns, refusal)

    def _on_chunk(self, message: JointTrajectory) -> None:
        try:
            chunk = trajectory_to_chunk(message)
        except (MessageError, ContractError) as error:
            self._intake.refuse(CHUNK, f"action chunk: {error}")
            return
        with self._lock:
            now_ns = self._now_ns()
            self._intake.came(CHUNK, now_ns)
            refusal = self._commander.on_chunk(chunk, now_ns)
            self._intake.chunk_refused = False
            if refusal is not None:
                self._intake.refused_chunk(refusal)
            self._tick_out_of_turn()

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._stop_asked("stop requested")
        disarmed = self._commander.guard.mode is Mode.DISARMED
        response.success, response.message = True, "disarmed" if disarmed else "stopping; arm again to go on"
        return response

    def _on_lock_out(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        with self._lock:
            self._requests.locked_out = bool(request.data)
        if request.data:
            self._stop_asked("locked out")
        self._tell()
        response.success, response.message = True, "locked out" if request.data else "released; disarmed until armed"
        return response

    def _stop_asked(self, reason: str) -> None:
        """Any thread. Somebody wants the robot to stand still; requests to arm that are under way do not count."""
        with self._lock:
            self._requests.stopped()
            self._stops += 1
            self._stop(reason)

    def _stop(self, reason: str) -> None:
        with self._lock:
            was = self._commander.guard.mode
            self._commander.stop(reason)
            if self._commander.guard.mode is not was:
                self._tick_out_of_turn()
            self._tell()

    def _on_arm(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            refusal = self._requests.refusal()
        refusal = self._arm(refusal)
        response.success, response.message = refusal is None, refusal or "armed"
        return response

    def _arm(self, refusal: str | None) -> str | None:
        """Arm, unless there is a refusal already. Returns why not, or None."""
        stops = self._stops
        refusal = refusal or self._not_ready()
        with self._lock:
            if refusal is None and stops != self._stops:
                refusal = "a stop came meanwhile"
            refusal = f"not armed: {refusal}" if refusal else self._commander.arm(self._now_ns())
            if refusal is None:
                self._told = (Mode.ARMED, False)
                self.get_logger().info("armed; the first plan moves the robot")
            self._tell()
        return self._intake.explained(refusal)

    def _not_ready(self) -> str | None:
        if self._loop is None:
            return "the commander is not active"
        return self._rivals.refusal() or self._dead_man.overdue()

    def _tell(self) -> None:
        self._diagnostics.changed()

    def _jumped(self) -> None:
        with self._lock:
            self._commander.clock_jumped()
            self._tell()

    def _report(self) -> Report:
        with self._lock:
            return self._state()

    def _state(self) -> Report:
        guard, now_ns = self._commander.guard, self._now_ns()
        doubtful = guard.waiting or self._intake.chunk_refused
        level = {Mode.ARMED: WARN if doubtful else OK, Mode.DISARMED: WARN, Mode.FAULT: ERROR}[guard.mode]
        reason = f"locked out; {guard.reason}" if self._requests.locked_out else guard.reason
        values: dict[str, object] = {
            "mode": guard.mode.value,
            "reason": shorten(reason),
            "dry_run": self.parameters.dry_run,
            "locked_out": self._requests.locked_out,
            "stop topic": self._stop_listener.problem(),
            "execution": self.parameters.execution,
            "tracking failures": guard.tracking_failures,
            "scheduling": self._scheduling,
        }
        values |= self._intake.values(now_ns) | self._figures.values()
        reason = "; ".join(filter(None, (reason, self._intake.trouble)))
        return Report(level, f"{guard.mode.value}: {shorten(reason)}" if reason else guard.mode.value, values)


def main() -> None:
    """Entry point."""
    spin(CommanderNode)


if __name__ == "__main__":
    main()
