"""Evaluates a policy on a bag: it plans from the recorded observations, and nothing moves.

Observations come through `ros.ingest` and the `Synchroniser`, like the live node's. If the bag holds chunks, the policy
plans at their observations, as complete as they were then (`~/timing` says when); with a chosen delay, or on a bag
without chunks, at the observations that the node's `Planner` would have taken.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from vla_ros.bags.episodes.recorded_plans import RecordedPlans
from vla_ros.core.abilities import Policy
from vla_ros.core.errors import MessageError
from vla_ros.core.planning.planner import Planner
from vla_ros.core.robot import RobotSpec
from vla_ros.core.streams.synchroniser import Synchroniser
from vla_ros.core.types import ActionChunk, Observation
from vla_ros.ros.ingest import INSTRUCTION, JOINT_STATES, Ingest


@dataclass(frozen=True, slots=True)
class OpenLoopPlan:
    """A plan and its observation. delay_ns: from the observation's stamp to the arrival of the plan.

    recorded: the chunk on the bag that answers the same observation. inference_ns: as measured here.
    """

    observation: Observation
    chunk: ActionChunk
    recorded: ActionChunk | None
    delay_ns: int
    inference_ns: int


@dataclass(slots=True)
class OpenLoop:
    """Lets a policy plan from a bag's observations. delay_ns: None takes the recorded delay.

    execution: as in the policy node; with real_time_chunking a chunk continues the recorded one before it.
    missed: recorded chunks whose observation the bag does not give. refused: observations that the policy cannot obey.
    """

    robot: RobotSpec
    policy: Policy
    recorded: RecordedPlans
    delay_ns: int | None = None
    execution: str = "receding_horizon"
    execute_steps: int = 0
    missed: int = 0
    refused: int = 0
    _planner: Planner = field(init=False)

    def answers(self, messages: Iterable[tuple[str, Any, int]]) -> Iterator[OpenLoopPlan]:
        """Yield answers from (topic, message, time of reception) of the robot's inputs, in order."""
        contract, robot = self.policy.contract, self.robot
        cameras = tuple(camera.name for camera in contract.cameras)
        synchroniser = Synchroniser(
            robot, cameras=contract.cameras, history=contract.history, history_step_s=contract.step_s
        )
        self._planner = Planner(self.policy, robot, self.execution, self.execute_steps)
        as_recorded = self.delay_ns is None and bool(self.recorded.chunks)
        chosen = self._as_recorded if as_recorded else self._as_chosen
        yield from chosen(messages, synchroniser, Ingest(robot, synchroniser, cameras))

    def _as_recorded(
        self, messages: Iterable[tuple[str, Any, int]], synchroniser: Synchroniser, ingest: Ingest
    ) -> Iterator[OpenLoopPlan]:
        """Plan at the observations that were answered then, with the messages received by that time."""
        sources = {source.topic: source for source in ingest.sources}
        wanted = dict.fromkeys(sorted(self.recorded.chunks))
        found: Observation | None = None  # the newest wanted one; later messages may complete it
        for topic, message, now_ns in messages:
            if found is not None and now_ns > self._complete_ns(found.stamp_ns, now_ns):
                yield from self._answer_then(found)
                found = None
            source = sources[topic]
            idle = (INSTRUCTION, JOINT_STATES) if found is None else (INSTRUCTION,)
            if not ingest.take(source, message, now_ns) or source.name in idle:
                continue
            observation = synchroniser.observe(now_ns, repeat=True)
            if observation is None or not observation.instruction:
                continue
            if found is not None and observation.stamp_ns != found.stamp_ns:
                yield from self._answer_then(found)
                found = None
            if found is not None or observation.stamp_ns in wanted:
                wanted.pop(observation.stamp_ns, None)
                found = observation
        if found is not None:
            yield from self._answer_then(found)
        self.missed = len(wanted)

    def _answer_then(self, found: Observation) -> Iterator[OpenLoopPlan]:
        """Plan with the delay that the recorded policy had."""
        yield from self._answer(found, self.recorded.delay_ns(found.stamp_ns))

    def _complete_ns(self, stamp_ns: int, otherwise_ns: int) -> int:
        timing = self.recorded.timings.get(stamp_ns)
        return timing.complete_ns if timing else otherwise_ns - 1

    def _as_chosen(
        self, messages: Iterable[tuple[str, Any, int]], synchroniser: Synchroniser, ingest: Ingest
    ) -> Iterator[OpenLoopPlan]:
        """Plan as the node would if every plan arrived `delay_ns` after its observation's stamp."""
        sources = {source.topic: source for source in ingest.sources}
        delay_ns, busy_until_ns = self.delay_ns or 0, 0
        for topic, message, now_ns in messages:
            source = sources[topic]
            if not ingest.take(source, message, now_ns) or source.name == JOINT_STATES:
                continue
            if source.name == INSTRUCTION:
                self._planner.replan()
                continue
            if now_ns < busy_until_ns or not synchroniser.instruction:
                continue
            observation = synchroniser.observe(now_ns)
            if observation is not None and self._planner.is_due(observation.stamp_ns):
                busy_until_ns = observation.stamp_ns + delay_ns
                yield from self._answer(observation, delay_ns)

    def _answer(self, observation: Observation, delay_ns: int) -> Iterator[OpenLoopPlan]:
        """Plan as the node's inference thread does."""
        started_ns = time.perf_counter_ns()
        try:
            chunk = self._planner.plan(observation)
        except MessageError:
            self.refused += 1
            return
        took_ns = time.perf_counter_ns() - started_ns
        recorded = self.recorded.chunks.get(observation.stamp_ns)
        self._planner.sent(recorded or chunk, observation, observation.stamp_ns + delay_ns)
        yield OpenLoopPlan(observation, chunk, recorded, delay_ns, took_ns)
