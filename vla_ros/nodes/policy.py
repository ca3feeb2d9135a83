"""The policy node: the newest synchronised observation in, an action chunk out, inferred in a thread of its own."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import cast

from diagnostic_msgs.msg import DiagnosticStatus
from trajectory_msgs.msg import JointTrajectory

from vla_ros.core.abilities import Imagines, ImaginingPolicy, Policy, Proposes
from vla_ros.core.errors import ConfigError, MessageError
from vla_ros.core.planning.choosing import Chooser, Vetoed, scorer_of
from vla_ros.core.planning.planner import Planner
from vla_ros.core.robot import RobotSpec
from vla_ros.core.timing import LatencyStats, RateMeter
from vla_ros.core.types import ActionChunk
from vla_ros.policies.loading import load_policy
from vla_ros.ros.convert import chunk_to_trajectory
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Report, status, waiting
from vla_ros.ros.failure_watch import FailureWatch
from vla_ros.ros.observing_node import ObservingNode, Session
from vla_ros.ros.parameters import ModelParameters, parameter
from vla_ros.ros.plan_timing import Job, PlanTiming
from vla_ros.ros.process.lifecycle import ManagedNode, spin
from vla_ros.ros.process.worker import Worker
from vla_ros.ros.qos import COMMAND, EVENTS
from vla_ros.ros.turns import Leader, turns_file


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


class PolicySession(Session[Policy]):
    """Topics and the inference thread around a `core.planning.planner.Planner`."""

    _worker: Worker[Job]

    def __init__(self, node: ManagedNode, wanted: Parameters) -> None:
        super().__init__(node, wanted, load_policy)
        chooser = _chooser(self.model, self.robot, wanted)
        self._planner = Planner(
            self.model, self.robot, wanted.execution, wanted.execute_steps, chooser, name=wanted.model
        )
        self._planner.warm_up()
        self._era, self._lock = 0, threading.Lock()  # over beginning anew, and over sending
        self._failures = FailureWatch()
        self._inference, self._sent = LatencyStats(), RateMeter()
        self._turns = Leader(turns_file(node.context.get_domain_id(), node.get_namespace()))
        self._chunks = self.publish(JointTrajectory, "action_chunk", COMMAND)
        self._timing = self.publish(DiagnosticStatus, "~/timing", EVENTS)
        self.own(node.create_timer(0.2, self._watch_failures))

    def begin(self) -> None:
        """Start the inference thread."""
        self._failures.clear()
        self.while_active(self._turns.close)
        self._worker = self.worker(self._infer, self._failed, "inference")

    def restart(self) -> None:
        """Begin anew; what is being inferred is dropped."""
        with self._lock:
            self._era += 1
            self.synchroniser.reset()
            self._planner.reset()
            self._failures.clear()

    def on_instruction(self) -> None:
        """Plan at once."""
        self._planner.replan()

    def on_image(self) -> None:
        """Plan from the newest observation, if that is due and the last one is done."""
        if self.inputs is None or self._worker.busy or not self.synchroniser.instruction:
            return
        now_ns = self.now_ns()
        observation = self.synchroniser.observe(now_ns)
        if observation is not None and self._planner.is_due(observation.stamp_ns):
            self._worker.submit(Job(observation, now_ns, self.inputs.decode_ms, self._era))

    def _infer(self, job: Job) -> None:
        """In the inference thread."""
        started_ns = self.now_ns()
        if job.era != self._era:
            return
        with self._turns.turn(started_ns - job.observation.stamp_ns):
            draft = self._planner.draft(job.observation)
            drafted_ns = self.now_ns()
            chunk = self._planner.choose(draft)
        chosen_ns = self.now_ns()
        if self._turns.problem:
            self.node.get_logger().warning(self._turns.problem, once=True)
        if (sent_ns := self._send(chunk, job)) is not None:
            self._note(PlanTiming(job, started_ns, drafted_ns, chosen_ns, sent_ns))

    def _send(self, chunk: ActionChunk, job: Job) -> int | None:
        """Return when it was sent [ns]; None if it was not: stopped, begun anew, or told something else meanwhile."""
        instruction = job.observation.instruction
        with self._lock:
            if job.era != self._era or instruction != self.synchroniser.instruction:
                return None
            self._chunks.publish(chunk_to_trajectory(chunk))
            sent_ns = self.now_ns()
            self._planner.sent(chunk, job.observation, sent_ns)
        return sent_ns

    def _note(self, timing: PlanTiming) -> None:
        self._inference.add_ns(timing.inference_ns)
        self._sent.tick(timing.sent_ns)
        self.problem = ""
        self._timing.publish(status(self.node.get_name(), Report(OK, "", timing.values())))

    def _failed(self, error: Exception) -> None:
        """In the inference thread. A sentence that cannot be obeyed and a veto are no failures: nothing is sent."""
        self.problem = str(error) or repr(error)
        self.node.get_logger().error(f"no chunk: {self.problem}", throttle_duration_sec=2.0)
        if not isinstance(error, MessageError | Vetoed):
            self._failures.failed()

    def _watch_failures(self) -> None:
        if self.inputs is None or not self._failures.too_many:
            return
        self.node.get_logger().error(f"{self._failures.limit}; going inactive")
        problem = self.problem
        self.node.trigger_deactivate()
        self.problem = f"inactive after {self._failures.most} failures: {problem}"
        self.diagnostics.changed()

    def report(self) -> Report:
        """Return what it plans, or why it does not."""
        now_ns = self.now_ns()
        age_s = self._sent.age_s(now_ns)
        values: dict[str, object] = {
            "instruction": self.synchroniser.instruction,
            "chunks": self._sent.count,
            "chunk rate_hz": self._sent.rate_hz(now_ns),
            "chunk age_s": age_s,
            "inference_ms p50": self._inference.quantile_ms(0.5),
            "inference_ms p99": self._inference.quantile_ms(0.99),
            "turns": self._turns.problem or "announced",
        }
        if self.inputs is None:
            return Report(ERROR if self.problem else WARN, self.problem or "inactive", values)
        values |= self.inputs.figures(now_ns) | {"last refused input": self.inputs.last_error}
        if problem := self.inputs.instruction_error or self.problem:
            return Report(ERROR, problem, values)
        if not self.synchroniser.instruction:
            return waiting("waiting for an instruction", self.inputs.trouble, values)
        if age_s > 1.0:
            self.synchroniser.observe(now_ns, repeat=True)
            reason = self.inputs.explained(self.synchroniser.reason)
            return Report(WARN, reason or self.inputs.last_error or "no chunk yet", values)
        return Report(OK, "planning", values)


def _chooser(policy: Policy, robot: RobotSpec, wanted: Parameters) -> Chooser | None:
    if not wanted.scorer:
        return None
    if not (isinstance(policy, Proposes) and isinstance(policy, Imagines)):
        raise ConfigError(f"scorer is set, but model '{wanted.model}' does not imagine; use a model of kind uwm")
    scorer, imagining = scorer_of(wanted.scorer), cast(ImaginingPolicy, policy)
    return Chooser(imagining, robot, scorer, wanted.candidates, wanted.samples, wanted.veto_above)


class PolicyNode(ObservingNode[Parameters, PolicySession]):
    """The lifecycle of a `PolicySession`."""

    def __init__(self) -> None:
        super().__init__("policy", Parameters, PolicySession)


def main() -> None:
    """Entry point."""
    spin(PolicyNode)


if __name__ == "__main__":
    main()
