"""The policy's node in the test's own process: what is under way when all begins anew, or when it was too slow."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import until

from vla_ros.core.types import ActionChunk, Observation

pytestmark = pytest.mark.live

SENTENCE, STEP_NS = "lift the red block", 100_000_000


class Slow:
    """A policy whose answers wait until they may come."""

    def __init__(self, policy: Any) -> None:
        self.contract, self._policy = policy.contract, policy
        self.may_answer, self.asked = threading.Event(), 0

    def reset(self) -> None:
        self._policy.reset()

    def infer(self, *question: Any) -> ActionChunk:
        self.asked += 1
        assert self.may_answer.wait(30)
        return self._policy.infer(*question)


@pytest.fixture
def make(rclpy_context: object, tiny_model: Path) -> Iterator[Any]:
    """Makes a configured policy node with other parameters than the default ones."""
    from vla_ros.nodes.policy import PolicyNode

    made = []

    def configured(**parameters: Any) -> Any:
        node = PolicyNode()
        made.append(node)
        node.parameters = replace(node.parameters, model=str(tiny_model), **parameters)
        node.trigger_configure()
        return node

    yield configured
    for node in made:
        node.deactivate()
        node.destroy_node()


def slow_down(session: Any) -> Slow:
    session._planner.policy = slow = Slow(session.model)
    return slow


def job(session: Any, stamp_ns: int) -> Any:
    from vla_ros.ros.plan_timing import Job

    session.synchroniser.set_instruction(SENTENCE)
    contract = session.model.contract
    images = {c.name: np.zeros((1, c.height, c.width, 3), dtype=np.uint8) for c in contract.cameras}
    state = np.zeros((1, len(contract.joints)), dtype=np.float32)
    return Job(Observation(stamp_ns, images, state, SENTENCE), stamp_ns, 0.0, session._era)


def test_what_is_inferred_while_everything_begins_anew_is_not_sent(make: Any) -> None:
    """Simulated time jumped back: an answer of the old time would forbid to plan until it comes round again."""
    node = make()
    session, slow = node.session, slow_down(node.session)
    node.trigger_activate()
    session._worker.submit(job(session, 100 * STEP_NS))
    until(lambda: slow.asked == 1, what="the question")
    session.restart()
    slow.may_answer.set()
    until(lambda: not session._worker.busy, what="the answer")
    assert session._sent.count == 0 and session._planner.is_due(STEP_NS)
    session._worker.submit(job(session, STEP_NS))
    until(lambda: session._sent.count == 1, what="a chunk of the new time")


def test_one_thread_at_a_time_is_in_the_model(make: Any) -> None:
    from rclpy.lifecycle import TransitionCallbackReturn

    node = make()
    session, slow = node.session, slow_down(node.session)
    node.trigger_activate()
    session._worker.submit(job(session, STEP_NS))
    until(lambda: slow.asked == 1, what="the question")
    node.trigger_deactivate()
    assert node.trigger_activate() != TransitionCallbackReturn.SUCCESS
    assert "the last inference is still under way" in node.failure
    slow.may_answer.set()
    until(lambda: session._worker.ended, what="the end of the inference")
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS and session._sent.count == 0


def test_one_slow_chunk_does_not_end_real_time_chunking(make: Any) -> None:
    node = make(execution="real_time_chunking")
    node.trigger_activate()
    session = node.session
    now_ns = session.now_ns()
    session._worker.submit(job(session, now_ns - 9 * STEP_NS))  # sent 0.9 s after its picture, of a horizon of 1.2 s
    until(lambda: session._sent.count == 1, what="the slow chunk")
    near = job(session, now_ns - 8 * STEP_NS)
    at_plan = session._planner._continuer._last.actions[:1].copy()
    near = replace(near, observation=replace(near.observation, state=at_plan))
    session._worker.submit(near)
    until(lambda: "an inference must last at most" in session.problem, what="the refusal")
    for count in (2, 3):  # the first begins afresh, the second continues it: only what was measured since counts
        later = job(session, session.now_ns())
        last = session._planner._continuer._last
        state = later.observation.state if last is None else last.actions[:1].copy()
        session._worker.submit(replace(later, observation=replace(later.observation, state=state)))
        until(lambda count=count: session._sent.count == count, what="a chunk after it")


def test_more_steps_than_a_chunk_has_are_refused(make: Any) -> None:
    node = make(execute_steps=13)
    assert "execute_steps must be 1 to the model's horizon, 12, got 13" in node.failure
    assert node.session is None
    assert not [one for one in node.publishers if one.topic_name == "/diagnostics"]


def test_cycles_of_configure_and_cleanup_leave_nothing(make: Any) -> None:
    """Neither topics, which would show in the graph for ever, nor the model, for which the next one needs the room."""
    node = make()
    node.trigger_cleanup()
    before = entities(node)
    for _ in range(2):
        node.trigger_configure()
        model = weakref.ref(node.session.model)
        assert entities(node) != before
        node.trigger_activate()
        node.trigger_deactivate()
        node.trigger_cleanup()
        assert entities(node) == before and model() is None


def entities(node: Any) -> dict[str, int]:
    """How many things of ROS a node has."""
    kinds = ("publishers", "subscriptions", "services", "clients", "timers", "guards", "waitables")
    return {kind: len(list(getattr(node, kind))) for kind in kinds}
