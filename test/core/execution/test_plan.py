"""Time decides what is due: chunks are never executed late, twice or out of order, and never with a jump."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_robot import MS, STEP_NS, chunk_of

from vla_ros.core.execution.plan import Plan
from vla_ros.core.types import NS_PER_S, ActionChunk

ONE = ("a",)
values = st.floats(-1.0, 1.0, width=32)


def ramp(stamp_ns: int, horizon: int, step_ns: int) -> ActionChunk:
    """Each action is its own due time [s]: whoever executes it right commands the time of day."""
    start_ns = stamp_ns + step_ns
    due_s = (start_ns + step_ns * np.arange(horizon)) / NS_PER_S
    return ActionChunk(stamp_ns, start_ns, step_ns, due_s[:, None].astype(np.float32), ONE)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int]]]:
    """(horizon, step_ns, [(stamp, arrival)]): inference one at a time, every delay within the horizon."""
    horizon = draw(st.integers(2, 16))
    execute = draw(st.integers(1, horizon))
    step_ns = draw(st.sampled_from([20, 33, 50, 100])) * MS
    stamp, out = 0, []
    for delay in draw(st.lists(st.integers(0, (horizon - execute) * step_ns // 2), min_size=1, max_size=12)):
        out.append((stamp, stamp + delay))
        stamp += max(execute, -(-delay // step_ns)) * step_ns
    return horizon, step_ns, out


@given(schedules(), st.integers(1, 17))
def test_no_gap_and_no_repeat_across_boundaries(plan_of: tuple[int, int, list[tuple[int, int]]], tick_ms: int) -> None:
    horizon, step_ns, arrivals = plan_of
    plan, last = Plan(), np.zeros(1)
    begins_ns = arrivals[0][1] + 2 * step_ns
    ends_ns = arrivals[-1][0] + horizon * step_ns
    for now_ns in range(0, ends_ns, tick_ms * MS):
        while arrivals and arrivals[0][1] <= now_ns:
            stamp, arrival = arrivals.pop(0)
            late = stamp + horizon * step_ns <= arrival
            assert (plan.accept(ramp(stamp, horizon, step_ns), arrival, last) is not None) == late
        command = plan.command(now_ns)
        if command is not None:
            assert command[0] >= last[0] - 1e-9  # monotone in time
            last = command
        if now_ns >= begins_ns:
            assert command is not None
            assert command[0] == pytest.approx(now_ns / NS_PER_S, abs=1e-5)


@given(st.permutations(range(6)), st.lists(st.integers(0, 300), min_size=6, max_size=6))
def test_an_older_or_equal_stamp_never_displaces_a_newer_one(order: list[int], waits_ms: list[int]) -> None:
    plan, now_ns, newest = Plan(), 0, -1
    for number, wait in zip(order, waits_ms, strict=True):
        now_ns += wait * MS
        chunk = chunk_of(number * STEP_NS, np.full((30, 1), number), ONE)
        assert (plan.accept(chunk, now_ns, np.zeros(1)) is None) == (number > newest)
        assert "no newer" in (plan.accept(chunk, now_ns, np.zeros(1)) or "")
        newest = max(newest, number)
        assert plan.stamp_ns == newest * STEP_NS
    target = plan.command(now_ns + 30 * STEP_NS if newest < 0 else (newest + 30) * STEP_NS)
    assert target is not None
    assert target[0] == pytest.approx(newest)


@given(
    st.lists(st.tuples(st.integers(0, 1200), st.lists(values, min_size=4, max_size=12)), min_size=1, max_size=8),
    values,
)
def test_commands_are_continuous_at_every_switch(chunks: list[tuple[int, list[float]]], start: float) -> None:
    plan, last, now_ns, stamp = Plan(), np.array([start]), 0, 0
    for wait_ms, actions in chunks:
        now_ns += wait_ms * MS
        before = plan.command(now_ns)
        stamp = max(stamp + 1, now_ns - 150 * MS)
        accepted = plan.accept(chunk_of(stamp, np.array(actions)[:, None], ONE), now_ns, last) is None
        after = plan.command(now_ns)
        if accepted:
            assert after is not None
            np.testing.assert_allclose(after, last if before is None else before, atol=1e-12)
            soon = plan.command(now_ns + 1000)
            assert soon is not None
            assert abs(soon[0] - after[0]) < 1e-3  # and right after it: no jump within a microsecond
        last = after if after is not None else last
        now_ns += 1
        last = last if (moved := plan.command(now_ns)) is None else moved


@given(
    st.lists(st.lists(values, min_size=2, max_size=2), min_size=3, max_size=12),
    st.integers(0, 1100),
    st.lists(st.integers(1, 300), max_size=4),
)
def test_equal_chunks_blend_to_themselves(actions: list[list[float]], first_ms: int, waits_ms: list[int]) -> None:
    plan, still = Plan(), Plan()
    chunk = chunk_of(0, actions, ("a", "b"))
    now_ns = min(first_ms * MS, chunk.end_ns - 1)
    plan.accept(chunk, now_ns, np.zeros(2))
    still.accept(chunk, now_ns, np.zeros(2))
    now_ns = max(now_ns + STEP_NS, chunk.start_ns)  # the first second of motion has faded in
    for number, wait in enumerate(waits_ms, start=1):
        now_ns += wait * MS
        if now_ns >= chunk.end_ns:
            break
        assert not plan.accept(ActionChunk(number, chunk.start_ns, STEP_NS, chunk.actions, chunk.names), now_ns, None)
        for ahead_ms in range(0, 1300, 7):
            ours, theirs = plan.command(now_ns + ahead_ms * MS), still.command(now_ns + ahead_ms * MS)
            if theirs is not None:
                assert ours is not None
                np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_equal_motion_seen_one_step_later_changes_nothing() -> None:
    plan = Plan()
    plan.accept(ramp(0, 12, STEP_NS), 0, np.zeros(1))
    assert not plan.accept(ramp(2 * STEP_NS, 12, STEP_NS), 230 * MS, None)  # 230 ms: before its first action is due
    for ms in range(230, 1400, 10):
        command = plan.command(ms * MS)
        assert command is not None
        assert command[0] == pytest.approx(ms / 1000, abs=1e-6)


@pytest.mark.parametrize("before_due_ms", [1, 30, 50, 99, 100])
def test_a_different_chunk_fades_in_over_one_step_however_near_its_next_action_is(before_due_ms: int) -> None:
    plan, now_ns = Plan(), 1000 * MS
    plan.accept(chunk_of(now_ns - 200 * MS, np.zeros((12, 1)), ONE), now_ns, np.zeros(1))
    plan.accept(chunk_of(now_ns + before_due_ms * MS - 200 * MS, np.full((12, 1), 0.5), ONE), now_ns, None)
    for ms in range(200):
        command = plan.command(now_ns + ms * MS)
        assert command is not None
        assert command[0] == pytest.approx(min(0.5, 0.5 * ms / 100), abs=1e-6)


def test_from_standstill_the_way_to_a_first_action_in_the_future_is_a_line() -> None:
    plan = Plan()
    plan.accept(ActionChunk(0, 300 * MS, STEP_NS, np.array([[0.3], [0.4]], np.float32), ONE), 0, np.zeros(1))
    assert [plan.command(ms * MS) for ms in (0, 150, 300, 350)] == pytest.approx([0.0, 0.15, 0.3, 0.35])


def test_until_a_new_plan_begins_the_old_one_goes_on_with_its_corners() -> None:
    plan = Plan()
    plan.accept(chunk_of(0, [[0.1], [0.0], [0.1], [0.0], [0.1]], ONE), 100 * MS, None)
    assert not plan.accept(ActionChunk(1, 400 * MS, STEP_NS, np.zeros((3, 1), np.float32), ONE), 100 * MS, None)
    commands = [plan.command(ms * MS) for ms in (100, 150, 200, 250, 300, 400, 600)]
    assert commands == pytest.approx([0.1, 0.05, 0.0, 0.05, 0.1, 0.0, 0.0])


def test_a_late_chunk_is_trimmed_not_replayed() -> None:
    poison = [9.0, 9.0, 9.0]
    plan = Plan()
    assert not plan.accept(chunk_of(0, np.array([*poison, 0.4, 0.5, 0.6])[:, None], ONE), 450 * MS, np.array([0.45]))
    commands = [plan.command(ms * MS) for ms in range(450, 601)]
    assert all(command is not None and 0.44 < command[0] < 0.601 for command in commands)
    assert commands[-1] == pytest.approx(0.6)


def test_a_chunk_wholly_late_is_refused_and_the_plan_goes_on() -> None:
    plan = Plan()
    plan.accept(chunk_of(0, np.linspace(0, 1, 12)[:, None], ONE), 0, np.zeros(1))
    refusal = plan.accept(chunk_of(1, [[5.0], [5.0]], ONE), 200 * MS + 1, None)
    assert "its last action was due 0 ms ago" in (refusal or "")
    assert plan.stamp_ns == 0


def test_dry_means_none_and_motion_goes_on_from_the_last_command() -> None:
    plan = Plan()
    plan.accept(chunk_of(0, [[0.1], [0.2]], ONE), 0, np.zeros(1))
    assert plan.command(200 * MS) == pytest.approx(0.2)
    assert plan.command(201 * MS) is None
    assert not plan.accept(chunk_of(300 * MS, [[0.8], [0.9]], ONE), 350 * MS, np.array([0.2]))
    assert plan.command(350 * MS) == pytest.approx(0.2)
    assert plan.command(500 * MS) == pytest.approx(0.9)


def test_clear_keeps_the_order_of_stamps_and_reset_forgets_it() -> None:
    plan, chunk = Plan(), chunk_of(5, [[0.1], [0.2]], ONE)
    plan.accept(chunk, 5, None)
    plan.clear()
    assert plan.command(STEP_NS) is None
    assert plan.stamp_ns is None
    assert plan.accept(chunk, 5, None) is not None
    plan.reset()
    assert plan.accept(chunk, 5, None) is None
