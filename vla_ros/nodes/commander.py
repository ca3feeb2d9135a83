"""The commander: chunks and joint states in, safe joint commands out. Small, numpy only, in a process of its own."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: its threads would only disturb the control period

import math
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_ros.core.commander import Commander
from vla_ros.core.errors import ContractError, MessageError
from vla_ros.core.execution import blend_of
from vla_ros.core.guard import Mode, Verdict
from vla_ros.core.robot import load_robot
from vla_ros.core.timing import CpuMeter, LatencyStats, RateMeter
from vla_ros.core.types import NS_PER_S
from vla_ros.ros.clock_watch import ClockWatch
from vla_ros.ros.control_loop import ControlLoop
from vla_ros.ros.convert import COMMAND_TYPES, command_message, joint_state_to_array, to_ns, trajectory_to_chunk
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report, status
from vla_ros.ros.lifecycle import ManagedNode, spin
from vla_ros.ros.parameters import declare, parameter
from vla_ros.ros.qos import COMMAND, EVENTS, SENSOR, actuation
from vla_ros.ros.scheduling import take_priority

# Right after a reader joins, DDS may leave it without best-effort messages for a third of a second.
AUTO_ARM_AFTER_S = 1.0


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
    """Topics, services and the control loop around `core.commander.Commander`, which decides everything."""

    def __init__(self) -> None:
        super().__init__("commander")
        self.parameters = declare(self, Parameters)
        self._heard: list[Any] = []
        self._served: list[Any] = []
        self._outputs: list[Any] = []
        self._diagnostics: Diagnostics | None = None
        self._loop: ControlLoop | None = None
        self._lock = threading.RLock()  # over the commander and its figures: the control loop has its own thread

    def configure(self) -> None:
        """Read the contract; make publishers, subscriptions and services."""
        self._robot = load_robot(self.parameters.robot)
        self._scheduling = take_priority(self.parameters.priority)
        self._commander = Commander(self._robot, blend_of(self.parameters.execution))
        self._period_ns = round(NS_PER_S / self._robot.command.rate_hz)
        self._simulated = bool(self.get_parameter("use_sim_time").value)
        self._meters = {"joint_states": RateMeter(), "chunk": RateMeter()}
        self._latency = {name: LatencyStats() for name in ("chunk_ms", "first_command_ms", "period_ms")}
        self._ticked_s, self._load = math.nan, CpuMeter()
        self._unheard = 0  # joint states refused since the last good ones
        self._refused, self._last_refusal = 0, {"joint_states": "", "chunk": ""}  # apart: either may hide the other
        rate_hz = self._robot.command.rate_hz
        for spec, columns in self._robot.outputs:  # one by one: `cleanup` must know those that were made
            publisher = self.create_publisher(COMMAND_TYPES[spec.type], spec.topic, actuation(rate_hz))
            names = [self._robot.joint_names[column] for column in columns]
            self._outputs.append((spec, names, np.array(columns, dtype=np.intp), publisher))
        self._timing = self.create_publisher(DiagnosticStatus, "~/timing", EVENTS)
        self._diagnostics = Diagnostics(self, self._report, self._robot.name)
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jumps = self.get_clock().create_jump_callback(threshold, post_callback=lambda _: self._jumped())
        self._clock_watch = ClockWatch(self, lambda: self._stop("the clock stands still"))
        listen, serve = self.create_subscription, self.create_service
        self._heard.append(listen(JointTrajectory, "action_chunk", self._on_chunk, COMMAND))
        self._heard.append(listen(JointState, self._robot.joint_states_topic, self._on_joint_state, SENSOR))
        self._heard.append(listen(Empty, "stop", self._on_stop_topic, COMMAND))
        self._served = [serve(Trigger, "~/arm", self._on_arm), serve(Trigger, "~/stop", self._on_stop)]

    def activate(self) -> None:
        """Start the control loop; still disarmed."""
        self._ticked_s = math.nan
        self._activated_s = time.monotonic()
        self._loop = ControlLoop(self, self._period_ns / NS_PER_S, self._control)

    def deactivate(self) -> None:
        """Send one hold where something was moving, then nothing more."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None
            with self._lock:
                self._commander.stop("the commander is shutting down")
                self._tick(periodic=False)
                self._commander.disarm()

    def cleanup(self) -> None:
        """Remove what `configure` made."""
        for subscription in self._heard:
            self.destroy_subscription(subscription)
        for service in self._served:
            self.destroy_service(service)
        for *_, publisher in self._outputs:
            self.destroy_publisher(publisher)  # left behind, it would count as a rival of the next one
        if self._diagnostics is not None:
            self.destroy_publisher(self._timing)
            self._diagnostics.close()
            self._jumps.unregister()
            self._clock_watch.close()
        self._heard, self._served, self._outputs, self._diagnostics = [], [], [], None

    def _now_ns(self) -> int:
        # Where no time is simulated, the node's clock is the system's, and takes twenty times as long to say so.
        return int(self.get_clock().now().nanoseconds) if self._simulated else time.time_ns()

    def _control(self) -> None:
        with self._lock:
            before_s, self._ticked_s = self._ticked_s, time.monotonic()
            if not math.isnan(before_s):
                self._latency["period_ms"].add_ns(round((self._ticked_s - before_s) * NS_PER_S))
            settled = self._ticked_s - self._activated_s > AUTO_ARM_AFTER_S
            if self.parameters.auto_arm and settled and self._commander.guard.mode is Mode.DISARMED:
                self._arm()
            self._tick(periodic=True)

    def _tick(self, *, periodic: bool) -> None:
        now_ns = self._now_ns()
        before = self._commander.guard.mode
        verdict = self._commander.tick(now_ns, periodic)
        self._publish(verdict)
        timing = self._commander.timing
        if timing is not None:
            self._latency["chunk_ms"].add_ns(round(timing.chunk_ms * 1e6))
            self._latency["first_command_ms"].add_ns(round(timing.first_command_ms * 1e6))
            values = {"stamp_ns": timing.stamp_ns, "chunk_ms": timing.chunk_ms,
                      "first_command_ms": timing.first_command_ms}  # fmt: skip
            self._timing.publish(status(self.get_name(), Report(OK, "", values)))
        if verdict.mode is not before:
            if verdict.mode is Mode.FAULT:
                self.get_logger().error(f"holding the last measured position: {verdict.reason}")
            self._tell()

    def _publish(self, verdict: Verdict) -> None:
        if verdict.command is None or verdict.velocity is None or self.parameters.dry_run:
            return
        assert verdict.moment_ns is not None  # as the command
        for spec, names, columns, publisher in self._outputs:
            values = (verdict.velocity if spec.interface == "velocity" else verdict.command)[columns]
            publisher.publish(command_message(spec.type, names, values, verdict.moment_ns, self._period_ns))

    def _on_joint_state(self, message: JointState) -> None:
        now_ns = self._now_ns()
        try:
            positions = joint_state_to_array(message, self._robot.joint_names)
        except MessageError as error:
            self._refuse("joint_states", str(error))
            return
        with self._lock:
            refusal = self._commander.on_state(to_ns(message.header.stamp), positions, now_ns)
        if refusal is None:
            self._meters["joint_states"].tick(now_ns)
            self._unheard = 0
        else:
            self._refuse("joint_states", refusal)

    def _on_chunk(self, message: JointTrajectory) -> None:
        try:
            chunk = trajectory_to_chunk(message)
        except (MessageError, ContractError) as error:
            self._refuse("chunk", f"action chunk: {error}")
            return
        with self._lock:
            now_ns = self._now_ns()
            self._meters["chunk"].tick(now_ns)
            refusal = self._commander.on_chunk(chunk, now_ns)
            if refusal is not None:
                self._last_refusal["chunk"] = f"action chunk refused: {refusal}"
            if self._loop is not None:
                self._tick(periodic=False)  # the first command need not wait for the control period

    def _on_stop_topic(self, _: Empty) -> None:
        self._stop("stop requested on the stop topic")

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._stop("stop requested")
        response.success, response.message = True, self._commander.guard.mode.value
        return response

    def _stop(self, reason: str) -> None:
        with self._lock:
            self._commander.stop(reason)
            if self._loop is not None:
                self._tick(periodic=False)
            self._tell()

    def _on_arm(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        refusal = self._arm()
        response.success, response.message = refusal is None, refusal or "armed"
        return response

    def _arm(self) -> str | None:
        with self._lock:
            refusal = self._not_ready() or self._commander.arm(self._now_ns())
            self._tell()
        return refusal and self._explained(refusal)

    def _explained(self, reason: str) -> str:
        """A reason that names joint states, and why none are taken: they may well have come."""
        return f"{reason}; {self._unheard_text()}" if self._unheard and "joint states" in reason else reason

    def _unheard_text(self) -> str:
        return f"{self._unheard} joint states refused in a row, the last: {self._last_refusal['joint_states']}"

    def _not_ready(self) -> str | None:
        if self._loop is None:
            return "not armed: the commander is not active"
        for spec, *_ in self._outputs:
            if (count := self.count_publishers(spec.topic)) > 1:
                return f"not armed: {count} publishers on {spec.topic}; right would be this commander alone"
        return None

    def _tell(self) -> None:
        if self._diagnostics is not None:
            self._diagnostics.changed()

    def _jumped(self) -> None:
        with self._lock:
            self._commander.clock_jumped()
            self._tell()

    def _refuse(self, what: str, why: str) -> None:
        self._refused += 1
        self._unheard += what == "joint_states"
        self._last_refusal[what] = why
        self.get_logger().warning(why, throttle_duration_sec=5.0)

    def _report(self) -> Report:
        with self._lock:
            return self._state()

    def _state(self) -> Report:
        guard, now_ns = self._commander.guard, self._now_ns()
        level = {Mode.ARMED: OK, Mode.DISARMED: WARN, Mode.FAULT: ERROR}[guard.mode]
        values: dict[str, object] = {
            "mode": guard.mode.value, "reason": guard.reason, "refused": self._refused,
            "dry_run": self.parameters.dry_run,
            "execution": self.parameters.execution, "tracking failures": guard.tracking_failures,
            "cpu percent": 100 * self._load.share(), "scheduling": self._scheduling,
        }  # fmt: skip
        values |= {f"{name} last refusal": why for name, why in self._last_refusal.items()}
        for name, meter in self._meters.items():
            values |= {f"{name} rate_hz": meter.rate_hz(now_ns), f"{name} age_s": meter.age_s(now_ns)}
        for name, stats in self._latency.items():
            values |= {f"{name} p50": stats.quantile_ms(0.5), f"{name} p99": stats.quantile_ms(0.99)}
        reason = "; ".join(filter(None, (guard.reason, self._unheard_text() if self._unheard > 2 else "")))
        return Report(level, f"{guard.mode.value}: {reason}" if reason else guard.mode.value, values)


def main() -> None:
    """Entry point."""
    spin(CommanderNode, lambda node: node.autostart() if node.parameters.autostart else None,
         lambda node: node.deactivate())  # fmt: skip


if __name__ == "__main__":
    main()
