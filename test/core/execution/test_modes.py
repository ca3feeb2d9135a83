"""What every execution mode keeps, whatever the delay, and what each of them is."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_robot import MS, STEP_NS, chunk_of

from vla_ros.core.errors import ConfigError
from vla_ros.core.execution.blending import FADE_NS, cross_fade
from vla_ros.core.execution.ensembling import MAX_CHUNKS, TemporalEnsembling
from vla_ros.core.execution.knots import Knots
from vla_ros.core.execution.modes import EXECUTIONS, blend_of
from vla_ros.core.execution.plan import Plan
from vla_ros.core.types import NS_PER_S, ActionChunk

ONE = ("a",)
SMOOTH = sorted(set(EXECUTIONS) - {"switch"})
every_mode = pytest.mark.parametrize("mode", sorted(EXECUTIONS))
values = st.floats(-1.0, 1.0, width=32)


def ramp(stamp_ns: int, horizon: int, step_ns: int = STEP_NS) -> ActionChunk:
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


@every_mode
@settings(max_examples=50)
@given(schedules(), st.integers(1, 17))
def test_no_gap_and_no_repeat_across_boundaries(
    mode: str, plan_of: tuple[int, int, list[tuple[int, int]]], tick_ms: int
) -> None:
    horizon, step_ns, arrivals = plan_of
    plan, last, arrivals = Plan(blend_of(mode)), np.zeros(1), list(arrivals)
    begins_ns = arrivals[0][1] + 2 * step_ns + FADE_NS
    ends_ns = arrivals[-1][0] + horizon * step_ns
    for now_ns in range(0, ends_ns, tick_ms * MS):
        while arrivals and arrivals[0][1] <= now_ns:
            stamp, arrival = arrivals.pop(0)
            late = stamp + horizon * step_ns <= arrival
            assert (plan.accept(ramp(stamp, horizon, step_ns), arrival, last) is not None) == late
        command = plan.command(now_ns)
        if command is not None:
            assert command[0] >= last[0] - 1e-6  # monotone in time
            last = command
        if now_ns >= begins_ns:
            assert command is not None
            assert command[0] == pytest.approx(now_ns / NS_PER_S, abs=1e-5)


@every_mode
@given(st.permutations(range(6)), st.lists(st.integers(0, 300), min_size=6, max_size=6))
def test_an_older_or_equal_stamp_never_displaces_a_newer_one(mode: str, order: list[int], waits_ms: list[int]) -> None:
    plan, now_ns, newest = Plan(blend_of(mode)), 0, -1
    for number, wait in zip(order, waits_ms, strict=True):
        now_ns += wait * MS
        before = plan.knots
        refusal = plan.accept(chunk_of(number * STEP_NS, np.full((30, 1), number), ONE), now_ns, np.zeros(1))
        assert (refusal is None) == (number > newest)
        assert number > newest or plan.knots is before
        newest = max(newest, number)
        assert plan.stamp_ns == newest * STEP_NS


@pytest.mark.parametrize("mode", SMOOTH)
@given(
    st.lists(st.tuples(st.integers(0, 1200), st.lists(values, min_size=4, max_size=12)), min_size=1, max_size=8),
    values,
)
def test_commands_are_continuous_at_every_takeover(
    mode: str, chunks: list[tuple[int, list[float]]], start: float
) -> None:
    plan, last, now_ns, stamp = Plan(blend_of(mode)), np.array([start]), 0, 0
    for wait_ms, actions in chunks:
        now_ns += wait_ms * MS
        before = plan.command(now_ns)
        stamp = max(stamp + 1, now_ns - 150 * MS)
        if not plan.accept(chunk_of(stamp, np.array(actions)[:, None], ONE), now_ns, last):
            after, soon = plan.command(now_ns), plan.command(now_ns + 1000)
            assert after is not None and soon is not None
            np.testing.assert_allclose(after, last if before is None else before, atol=1e-12)
            assert abs(soon[0] - after[0]) < 1e-3  # nor is there a jump within a microsecond
        now_ns += 1
        last = last if (moved := plan.command(now_ns)) is None else moved


@every_mode
@given(
    st.lists(st.lists(values, min_size=2, max_size=2), min_size=8, max_size=12),
    st.integers(0, 200),
    st.lists(st.integers(1, 300), max_size=4),
)
def test_equal_chunks_blend_to_themselves(
    mode: str, actions: list[list[float]], first_ms: int, waits_ms: list[int]
) -> None:
    plan, still = Plan(blend_of(mode)), Plan(blend_of(mode))
    chunk = chunk_of(0, actions, ("a", "b"))
    now_ns = first_ms * MS
    plan.accept(chunk, now_ns, np.zeros(2))
    still.accept(chunk, now_ns, np.zeros(2))
    now_ns = max(now_ns, chunk.start_ns) + FADE_NS  # the beginning has faded in
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


@every_mode
def test_memory_is_bounded_whatever_comes(mode: str) -> None:
    blend = blend_of(mode)
    plan = Plan(blend)
    for number in range(1, 400):
        assert not plan.accept(chunk_of(number * 10 * MS, np.zeros((50, 1)), ONE), number * 10 * MS, np.zeros(1))
    assert plan.knots is not None
    assert len(plan.knots.times) < 500
    assert not isinstance(blend, TemporalEnsembling) or len(blend) == MAX_CHUNKS


def test_ensembling_is_the_weighted_mean_of_all_chunks_that_cover_a_moment() -> None:
    blend, decay = TemporalEnsembling(decay=0.5), 0.5
    plan = Plan(blend)
    for number, level in enumerate([0.0, 1.0, 3.0]):
        plan.accept(chunk_of(number * STEP_NS, np.full((4 + number, 1), level), ONE), number * STEP_NS, np.zeros(1))
    w = np.exp(-decay * np.arange(3))
    both = {400: (w @ [0.0, 1.0, 3.0]) / w.sum(), 500: (w[:2] @ [1.0, 3.0]) / w[:2].sum(), 800: 3.0}
    for ms, right in both.items():  # the oldest chunk ends at 400 ms, the second at 600 ms
        assert plan.command(ms * MS) == pytest.approx(right, abs=1e-6)


def test_ensembling_forgets_what_was_before_a_stop() -> None:
    blend = TemporalEnsembling()
    plan = Plan(blend)
    plan.accept(chunk_of(0, np.full((12, 1), 1.0), ONE), 0, np.zeros(1))
    plan.clear()
    plan.accept(chunk_of(STEP_NS, np.full((12, 1), 0.2), ONE), STEP_NS, np.zeros(1))
    assert len(blend) == 1
    assert plan.command(500 * MS) == pytest.approx(0.2)


def test_ensembling_many_long_chunks_is_quick_enough() -> None:
    plan = Plan(TemporalEnsembling())
    for number in range(1, 80):
        plan.accept(chunk_of(number * 10 * MS, np.zeros((100, 7)), tuple("abcdefg")), number * 10 * MS, None)
    began = time.process_time()
    plan.accept(chunk_of(900 * MS, np.zeros((100, 7)), tuple("abcdefg")), 900 * MS, None)
    assert time.process_time() - began < 0.05


def test_a_cross_fade_is_a_line_of_weights_and_ends_with_its_time_or_its_plan() -> None:
    plan = Plan(cross_fade)
    plan.accept(chunk_of(0, np.zeros((12, 1)), ONE), 100 * MS, np.zeros(1))
    plan.accept(chunk_of(500 * MS, np.full((12, 1), 0.6), ONE), 700 * MS, None)
    commands = [plan.command(ms * MS) for ms in (700, 800, 900, 1000, 1300)]
    assert commands == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.6])
    old = Knots(np.array([0, 1200 * MS]), np.zeros((2, 1)))
    short = cross_fade(old, Knots.of(chunk_of(500 * MS, [[0.4], [0.4], [0.4]], ONE)), 650 * MS, None, STEP_NS)
    assert short.last_ns == 800 * MS
    assert [short.at(ms * MS)[0] for ms in (650, 725, 800)] == pytest.approx([0.0, 0.2, 0.4])


def test_a_switch_jumps() -> None:
    plan = Plan(blend_of("switch"))
    plan.accept(chunk_of(0, np.zeros((12, 1)), ONE), 100 * MS, np.zeros(1))
    plan.accept(chunk_of(1, np.full((12, 1), 0.5), ONE), 350 * MS, None)
    assert plan.command(350 * MS) == pytest.approx(0.5)


def test_real_time_chunking_takes_a_continuation_as_it_is() -> None:
    """Four steps of delay: the chunk repeats the plan until it arrives, then departs from it."""
    old = np.cumsum(np.full(12, 0.05))[:, None]
    plan = Plan(blend_of("real_time_chunking"))
    plan.accept(chunk_of(0, old, ONE), 100 * MS, old[0])
    rest = np.concatenate([old[4:8], old[7] - np.cumsum(np.full((8, 1), 0.03), axis=0)])
    new = chunk_of(4 * STEP_NS, rest, ONE)
    plan.accept(new, 8 * STEP_NS, None)
    for ms in range(800, 1600, 5):
        assert plan.command(ms * MS) == pytest.approx(Knots.of(new).at(ms * MS), abs=1e-9)


def test_an_unknown_mode_is_answered_with_a_known_one() -> None:
    with pytest.raises(ConfigError, match="'temporal_ensemble' is not known; did you mean 'temporal_ensembling'"):
        blend_of("temporal_ensemble")
