"""What of the plan the policy continues: due together with its own actions, frozen for the delay, and no longer."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_robot import MS, STEP_NS, chunk_of

from vla_ros.core.errors import ContractError
from vla_ros.core.execution.modes import blend_of
from vla_ros.core.execution.plan import Plan
from vla_ros.core.planning.continuation import (
    Continuation,
    Continuer,
    check_can_continue,
    continuation,
    delay_steps,
    execute_steps,
)
from vla_ros.core.types import ActionChunk, Observation

H = 12


def numbered(stamp_ns: int) -> ActionChunk:
    """Each action is its own due time in steps."""
    return chunk_of(stamp_ns, (stamp_ns / STEP_NS + np.arange(1, H + 1))[:, None], ("a",))


@given(st.integers(0, 15), st.integers(0, 1500))
def test_the_plan_is_what_is_left_and_the_frozen_part_of_it_lasts_for_the_delay(steps: int, delay_ms: int) -> None:
    stamp_ns = steps * STEP_NS
    found = continuation(numbered(0), stamp_ns, delay_ms * MS)
    if steps in (0, *range(H, 16)):
        assert found == Continuation(None, 0)
        return
    assert found.plan is not None
    assert found.plan.start_ns == stamp_ns + STEP_NS  # due with the first action to be inferred
    np.testing.assert_array_equal(found.plan.actions[:, 0], np.arange(steps + 1, H + 1))
    assert len(found.plan.actions) == H - steps
    assert found.frozen_steps == min(-(-delay_ms // 100), H - steps)


def test_between_its_actions_the_plan_is_a_line() -> None:
    found = continuation(numbered(0), 230 * MS, 120 * MS)
    assert found.plan is not None
    np.testing.assert_allclose(found.plan.actions[:, 0], np.arange(3.3, 12.01), rtol=1e-6)
    assert found.frozen_steps == 2


def test_without_a_chunk_or_with_a_newer_one_there_is_nothing_to_continue() -> None:
    assert continuation(None, 5 * STEP_NS, 0) == Continuation()
    assert continuation(numbered(6 * STEP_NS), 5 * STEP_NS, 0) == Continuation()


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
def test_execute_steps_keep_to_the_papers_bounds_or_are_refused(wanted: int, delay: int, horizon: int) -> None:
    if 2 * delay > horizon:
        with pytest.raises(ContractError, match=rf"must last at most {horizon // 2} of {horizon} steps, got {delay}"):
            execute_steps(wanted, delay, horizon)
        return
    steps = execute_steps(wanted, delay, horizon)
    assert 1 <= steps <= horizon
    assert delay <= steps <= max(horizon - delay, 1)
    assert steps == wanted or wanted < delay or wanted > horizon - delay


@pytest.mark.parametrize(("delay_ms", "steps"), [(-5, 0), (0, 0), (1, 1), (100, 1), (101, 2), (400, 4)])
def test_a_step_begun_is_a_step_of_delay(delay_ms: int, steps: int) -> None:
    assert delay_steps(delay_ms * MS, STEP_NS) == steps


def test_a_policy_that_cannot_continue_a_plan_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="the policy 'uwm_tabletop' cannot continue a plan"):
        check_can_continue(SimpleNamespace(infer=None), "uwm_tabletop")  # type: ignore[arg-type]
    check_can_continue(SimpleNamespace(continue_plan=print), "uwm_tabletop")  # type: ignore[arg-type]


@given(st.integers(0, 5), st.integers(0, 99), st.integers(1, 6))
def test_a_policy_that_keeps_the_frozen_steps_takes_over_without_a_change(
    delay: int, off_ms: int, execute: int
) -> None:
    """Both sides together, at any delay: whatever it does after the frozen steps, nothing moves at the takeover."""
    plan, rng = Plan(blend_of("real_time_chunking")), np.random.default_rng(0)
    last = chunk_of(0, rng.normal(size=(H, 1)), ("a",))
    plan.accept(last, STEP_NS, last.actions[0].astype(np.float64))
    stamp_ns = execute_steps(execute, delay + 1, H) * STEP_NS
    arrives_ns = stamp_ns + delay * STEP_NS + off_ms * MS
    found = continuation(last, stamp_ns, arrives_ns - stamp_ns)
    actions = rng.normal(size=(H, 1))
    assert found.plan is not None
    actions[: found.frozen_steps] = found.plan.actions[: found.frozen_steps]
    before = plan.command(arrives_ns)
    new = chunk_of(stamp_ns, actions, ("a",))
    assert before is not None and plan.accept(new, arrives_ns, before) is None
    if arrives_ns > stamp_ns + STEP_NS or found.frozen_steps > 0:
        assert plan.command(arrives_ns) == pytest.approx(before)
        due_ns = stamp_ns + max(delay, 1) * STEP_NS
        for moment in (max(due_ns, arrives_ns), max(due_ns + STEP_NS, arrives_ns + STEP_NS)):
            right = np.interp(moment, new.due_ns, new.actions[:, 0])
            assert plan.command(moment) == pytest.approx(right, abs=1e-6)


def seen(stamp_ns: int, position: float, instruction: str = "reach") -> Observation:
    return Observation(stamp_ns, {}, np.array([[position]], dtype=np.float32), instruction)


@pytest.fixture
def continuer() -> Continuer:
    found = Continuer(2, H, np.array([True]), near=0.5)
    found.sent(numbered(0), "reach")
    return found


def test_the_next_chunk_continues_the_last_one_where_the_arm_follows_it(continuer: Continuer) -> None:
    found = continuer.next(seen(2 * STEP_NS, 1.8), 150 * MS)
    assert found.plan is not None and found.frozen_steps == 2
    np.testing.assert_array_equal(found.plan.actions[:, 0], np.arange(3, H + 1))


def test_an_arm_that_does_not_follow_the_plan_starts_afresh(continuer: Continuer) -> None:
    assert continuer.next(seen(2 * STEP_NS, 1.4), 150 * MS) == Continuation()


def test_another_sentence_keeps_only_what_will_be_over(continuer: Continuer) -> None:
    found = continuer.next(seen(2 * STEP_NS, 2.0, "push"), 150 * MS)
    assert found.plan is not None and found.frozen_steps == 2
    np.testing.assert_array_equal(found.plan.actions[:, 0], [3, 4])
    assert continuer.next(seen(2 * STEP_NS, 2.0, "push"), 0) == Continuation()


def test_a_continuer_forgets_and_refuses_a_policy_that_is_too_slow(continuer: Continuer) -> None:
    with pytest.raises(ContractError, match="must last at most 6 of 12 steps, got 7"):
        continuer.next(seen(2 * STEP_NS, 2.0), 7 * STEP_NS)
    continuer.reset()
    assert continuer.next(seen(2 * STEP_NS, 2.0), 7 * STEP_NS) == Continuation()
