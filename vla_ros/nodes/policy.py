"""The policy node: the newest synchronised observation in, an action chunk out, inferred in a thread of its own."""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, cast

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from trajectory_msgs.msg import JointTrajectory

from vla_ros.core.abilities import Imagines, ImaginingPolicy, Proposes
from vla_ros.core.errors import ConfigError, MessageError, VlaRosError
from vla_ros.core.planning.choosing import Chooser, Vetoed, scorer_of
from vla_ros.core.planning.planner import Planner
from vla_ros.core.robot import load_robot
from vla_ros.core.streams.synchroniser import Synchroniser
from vla_ros.core.timing import LatencyStats, RateMeter
from vla_ros.core.types import ActionChunk, Observation
from vla_ros.policies.loading import check_contract, load_policy
from vla_ros.ros.convert import chunk_to_trajectory
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report, status, waiting
from vla_ros.ros.listening.everyone import Heard
from vla_ros.ros.parameters import ModelParameters, declare, parameter
from vla_ros.ros.process.lifecycle import ManagedNode, spin
from vla_ros.ros.process.worker import Worker
from vla_ros.ros.qos import COMMAND, EVENTS
from vla_ros.ros.subscriptions import Inputs
from vla_ros.ros.turns import Leader, turns_file

FAILURES, WITHIN_S = 3, 5.0


@dataclass(frozen=True, slots=True)
class Parameters(ModelParameters):
    """The policy node's parameters."""

    execute_steps: int = parameter(0, "actions to execute before the next chunk; 0: the model's own", low=0, high=1000)
    execution: str = parameter(
        "receding_horizon", "as the commander's; with real_time_chunking each chunk continues the last one"
    )
    candidates: int = parameter(1, "with a scorer: chunks to draw and imagine before one is sent", low=1, high=64)
    samples: int = parameter(2, "with a scorer: imagined futures of each candidate", low=2, high=64)
    scorer: str = parameter("", "chooses among candidates: spread, limits, or the name of an installed one; empty: off")
    veto_above: float = parameter(1e9, "with a scorer: a score above this may not be sent")


@dataclass(frozen=True, slots=True)
class Job:
    """An observation to plan from, when it was complete [ns], and how long its last image took to decode.

    era: how often everything had begun anew before; what is inferred across such a moment is of no use.
    """

    observation: Observation
    complete_ns: int
    decode_ms: float
    era: int


class PolicyNode(ManagedNode):
    """Parameters, topics and the inference thread around a `core.planning.planner.Planner`."""

    def __init__(self) -> None:
        super().__init__("policy")
        self.parameters = declare(self, Parameters)
        self._inputs: Inputs | None = None
        self._worker: Worker[Job] | None = None
        self._last_worker: Worker[Job] | None = None
        self._chunks: Any = None
        self._ready = False  # whether configure has made all that the rest needs
        self._era, self._lock = 0, threading.Lock()  # over beginning anew, and over sending

    def configure(self) -> None:
        """Load robot and model, hold them against each other, warm up."""
        self._robot = load_robot(self.parameters.robot)
        self._policy = load_policy(
            self.parameters.model, threads=self.parameters.threads, device=self.parameters.device
        )
        contract = self._policy.contract
        check_contract(contract, self._robot)
        wanted = self.parameters
        self._planner = Planner(
            self._policy, self._robot, wanted.execution, wanted.execute_steps, self._make_chooser(), wanted.model
        )
        self._planner.warm_up()
        self._cameras = tuple(camera.name for camera in contract.cameras)
        self._synchroniser = Synchroniser(
            self._robot, cameras=self._cameras, history=contract.history, history_step_s=contract.step_s
        )
        self._problem, self._heard = "", Heard()
        self._failures: deque[float] = deque(maxlen=FAILURES)  # by the steady clock [s]
        self._inference, self._sent = LatencyStats(), RateMeter()
        self._turns = Leader(turns_file(self.context.get_domain_id(), self.get_namespace()))
        if self._chunks is None:
            self._chunks = self.create_publisher(JointTrajectory, "action_chunk", COMMAND)
            self._timing = self.create_publisher(DiagnosticStatus, "~/timing", EVENTS)
            self._diagnostics = Diagnostics(self, self._report, self._robot.name)
            self.create_timer(0.2, self._watch_failures)
            threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
            self._jumps = self.get_clock().create_jump_callback(threshold, post_callback=lambda _: self._restart())
        self._ready = True

    def _make_chooser(self) -> Chooser | None:
        wanted = self.parameters
        if not wanted.scorer:
            return None
        if not (isinstance(self._policy, Proposes) and isinstance(self._policy, Imagines)):
            raise ConfigError(f"scorer is set, but model '{wanted.model}' does not imagine; right would be kind uwm")
        scorer = scorer_of(wanted.scorer)
        return Chooser(
            cast(ImaginingPolicy, self._policy),
            self._robot,
            scorer,
            wanted.candidates,
            wanted.samples,
            wanted.veto_above,
        )

    def activate(self) -> None:
        """Listen, and plan."""
        if self._last_worker is not None and not self._last_worker.ended:
            raise VlaRosError("the last inference is still under way; right would be to activate once it is over")
        self._problem = ""
        self._failures.clear()
        self._worker = self._last_worker = Worker(self._infer, self._failed, "inference")
        self._inputs = Inputs(
            self, self._robot, self._synchroniser, self._cameras, self._on_image, lambda _: self._planner.replan(),
            self._restart, self._heard,
        )  # fmt: skip

    def deactivate(self) -> None:
        """Cease to listen; a chunk under way is dropped."""
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        self._restart()
        if self._worker is not None:
            self._worker.close()
            self._worker = None
            self._turns.close()

    def cleanup(self) -> None:
        """Give the model's memory back: the next one must find room."""
        self.__dict__.pop("_policy", None)
        self.__dict__.pop("_planner", None)
        gc.collect()

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _restart(self) -> None:
        """Begin anew; what is being inferred is dropped."""
        if not self._ready:
            return
        with self._lock:
            self._era += 1
            self._synchroniser.reset()
            self._planner.reset()
            self._failures.clear()

    def _on_image(self) -> None:
        if self._worker is None or self._inputs is None or self._worker.busy or not self._synchroniser.instruction:
            return
        now_ns = self._now_ns()
        observation = self._synchroniser.observe(now_ns)
        if observation is not None and self._planner.is_due(observation.stamp_ns):
            self._worker.submit(Job(observation, now_ns, self._inputs.decode_ms, self._era))

    def _infer(self, job: Job) -> None:
        """In the inference thread."""
        observation, started_ns = job.observation, self._now_ns()
        if job.era != self._era:
            return
        with self._turns.turn(started_ns - observation.stamp_ns):
            draft = self._planner.draft(observation)
            drafted_ns = self._now_ns()
            chunk = self._planner.choose(draft)
        choice_ns = self._now_ns() - drafted_ns
        if self._turns.problem:
            self.get_logger().warning(self._turns.problem, once=True)
        if (sent_ns := self._send(chunk, job)) is None:
            return
        self._inference.add_ns(drafted_ns - started_ns)
        self._sent.tick(sent_ns)
        self._problem = ""
        stamp_ns = observation.stamp_ns
        values = {
            "stamp_ns": stamp_ns, "received_ms": (job.complete_ns - stamp_ns) / 1e6,
            "wait_ms": (started_ns - job.complete_ns) / 1e6, "inference_ms": (drafted_ns - started_ns) / 1e6,
            "choice_ms": choice_ns / 1e6,
            "published_ms": (sent_ns - stamp_ns) / 1e6, "decode_ms": job.decode_ms,
        }  # fmt: skip
        self._timing.publish(status(self.get_name(), Report(OK, "", values)))

    def _send(self, chunk: ActionChunk, job: Job) -> int | None:
        """When it was sent [ns]; None where it was not: stopped, begun anew, or told something else meanwhile."""
        instruction = job.observation.instruction
        with self._lock:
            if job.era != self._era or instruction != self._synchroniser.instruction:
                return None
            self._chunks.publish(chunk_to_trajectory(chunk))
            sent_ns = self._now_ns()
            self._planner.sent(chunk, job.observation, sent_ns)
        return sent_ns

    def _failed(self, error: Exception) -> None:
        """In the inference thread. A sentence that cannot be obeyed and a veto are no failures: nothing is sent."""
        self._problem = str(error) or repr(error)
        self.get_logger().error(f"no chunk: {self._problem}", throttle_duration_sec=2.0)
        if not isinstance(error, MessageError | Vetoed):
            self._failures.append(time.monotonic())

    def _watch_failures(self) -> None:
        recent = len(self._failures) == FAILURES and time.monotonic() - self._failures[0] < WITHIN_S
        if recent and self._worker is not None:
            self.get_logger().error(f"{FAILURES} failures within {WITHIN_S:g} s; going inactive")
            problem = self._problem
            self.trigger_deactivate()
            self._problem = f"inactive after {FAILURES} failures: {problem}"
            self._diagnostics.changed()

    def _report(self) -> Report:
        now_ns = self._now_ns()
        values: dict[str, object] = {
            "instruction": self._synchroniser.instruction, "chunks": self._sent.count,
            "chunk rate_hz": self._sent.rate_hz(now_ns), "chunk age_s": self._sent.age_s(now_ns),
            "inference_ms p50": self._inference.quantile_ms(0.5), "inference_ms p99": self._inference.quantile_ms(0.99),
            "turns": self._turns.problem or "announced",
        }  # fmt: skip
        if self._inputs is None:
            return Report(ERROR if self._problem else WARN, self._problem or "inactive", values)
        values |= self._inputs.figures(now_ns) | {"last refused input": self._inputs.last_error}
        if problem := self._inputs.instruction_error or self._problem:
            return Report(ERROR, problem, values)
        if not self._synchroniser.instruction:
            return waiting("waiting for an instruction", self._inputs.trouble, values)
        if self._sent.age_s(now_ns) > 1.0:
            self._synchroniser.observe(now_ns, repeat=True)
            reason = self._inputs.explained(self._synchroniser.reason)
            return Report(WARN, reason or self._inputs.last_error or "no chunk yet", values)
        return Report(OK, "planning", values)


def main() -> None:
    """Entry point."""
    spin(PolicyNode, lambda node: node.autostart() if node.parameters.autostart else None,
         lambda node: node.deactivate())  # fmt: skip


if __name__ == "__main__":
    main()
