"""Bounded statistics, and the moment to ask for the next chunk."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_robot import MS, STEP_NS

from vla_ros.core.planning.replan_clock import ReplanClock, next_due_ns
from vla_ros.core.timing import LatencyStats, RateMeter


def test_percentiles_are_of_the_last_ones() -> None:
    stats = LatencyStats(window=100)
    assert math.isnan(stats.quantile_ms(0.5))
    for ms in range(1000):
        stats.add_ns(ms * MS)
    assert stats.quantile_ms(1.0) == 999.0
    assert stats.quantile_ms(0.5) == pytest.approx(949.5)
    assert stats.quantile_ms(0.99) == pytest.approx(998.0, abs=0.1)


def test_rate_and_age() -> None:
    meter = RateMeter()
    assert meter.rate_hz(0) == 0.0
    assert meter.age_s(0) == math.inf
    for ms in range(0, 1000, 20):
        meter.tick(ms * MS)
    assert meter.rate_hz(990 * MS) == pytest.approx(50.0)
    assert meter.age_s(990 * MS) == pytest.approx(0.01)
    assert meter.rate_hz(11_000 * MS) < 4.0
    meter.tick(0)
    assert meter.rate_hz(0) == 0.0
    assert meter.count == 51


def test_a_chunk_each_execute_steps_of_stamps() -> None:
    clock, sent = ReplanClock(execute_steps=2, horizon=12, step_ns=STEP_NS), []
    for stamp in range(0, 2000 * MS, STEP_NS):
        jittered = stamp + (stamp // STEP_NS % 3 - 1) * 10 * MS
        if clock.is_due(jittered):
            clock.planned(jittered, jittered + 80 * MS)
            sent.append(stamp // STEP_NS)
    assert sent == list(range(0, 20, 2))
    assert clock.delay_ns == 80 * MS


def test_an_old_stamp_is_never_due_and_a_reset_starts_anew() -> None:
    clock = ReplanClock(1, 12, STEP_NS)
    clock.planned(1000 * MS, 9000 * MS)
    assert not clock.is_due(1000 * MS)
    assert not clock.is_due(900 * MS)
    clock.reset()
    assert clock.is_due(900 * MS)


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 3000))
def test_the_next_chunk_arrives_before_the_plan_ends_where_it_can(execute: int, lasts: int, delay: int) -> None:
    due = next_due_ns(0, execute, lasts, delay)
    assert 0 <= due <= execute
    assert due + delay <= lasts or due == 0
    assert due == execute or due + delay >= lasts  # no earlier than it must be


def test_a_plan_is_replaced_before_the_guard_calls_it_stale() -> None:
    clock = ReplanClock(execute_steps=8, horizon=12, step_ns=STEP_NS, plan_timeout_ns=450 * MS)
    clock.planned(0, 120 * MS)
    assert next(ms for ms in range(0, 1000, 100) if clock.is_due(ms * MS)) == 300


def test_execute_steps_beyond_the_horizon_are_refused() -> None:
    with pytest.raises(ValueError, match="execute_steps must be 1 to the horizon, 12, got 13"):
        ReplanClock(13, 12, STEP_NS)


def test_an_age_is_infinite_where_the_clock_went_back() -> None:
    meter = RateMeter()
    meter.tick(10**12)
    assert meter.age_s(10**12 + 2 * 10**9) == 2.0
    assert meter.age_s(10**12 - 30 * 10**9) == math.inf
