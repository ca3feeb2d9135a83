"""A plan rounded until it can be followed: true to straight motion, never outside the plan, smooth everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_robot import MS

from vla_ros.core.execution.knots import Knots
from vla_ros.core.execution.smoothing import PLAN_SHARE, WINDOWS_NS, MotionLimits, SmoothPath, smooth

WINDOW = WINDOWS_NS[0]
LIMITS = MotionLimits(np.array([2.0]), np.array([8.0]), np.array([400.0]))
T0 = 1_700_000_000_000_000_000  # a true stamp: moments must keep their nanoseconds
gaps = st.lists(st.integers(1, 300), min_size=1, max_size=12)


def knots(gaps_ms: list[int], values: list[float]) -> Knots:
    times = T0 + np.cumsum([0, *gaps_ms]) * MS
    return Knots(times, np.resize(values, len(times))[:, None])


def sampled(path: SmoothPath, start_ms: int, end_ms: int) -> np.ndarray:
    """(3, M) position, velocity and acceleration at each millisecond."""
    return np.stack([path.at(T0 + ms * MS)[:, 0] for ms in range(start_ms, end_ms)], axis=1)


@given(gaps, st.lists(st.floats(-1, 1), min_size=2, max_size=5))
def test_velocity_and_acceleration_are_the_positions_derivatives(gaps_ms: list[int], values: list[float]) -> None:
    position, velocity, acceleration = sampled(SmoothPath(knots(gaps_ms, values), WINDOW, T0), 0, sum(gaps_ms) + 300)
    scale = 1 + np.abs(acceleration).max()
    np.testing.assert_allclose(np.diff(position) * 1e3, (velocity[1:] + velocity[:-1]) / 2, atol=2e-3 * scale)
    np.testing.assert_allclose(np.diff(velocity) * 1e3, (acceleration[1:] + acceleration[:-1]) / 2, atol=0.1 * scale)


@given(gaps, st.lists(st.floats(-1, 1), min_size=2, max_size=5))
def test_it_stays_within_the_range_of_the_plan(gaps_ms: list[int], values: list[float]) -> None:
    path = SmoothPath(knots(gaps_ms, values), WINDOW, T0)
    position, _, _ = sampled(path, 2 * WINDOW // MS, 2 * WINDOW // MS + sum(gaps_ms))  # before: as it begins
    assert position.min() >= min(values) - 1e-9
    assert position.max() <= max(values) + 1e-9


@given(gaps, st.floats(-2, 2))
def test_straight_motion_is_left_as_it_is_without_lag(gaps_ms: list[int], speed: float) -> None:
    times = np.cumsum([0, *gaps_ms])
    path = SmoothPath(Knots(T0 + times * MS, speed * times[:, None] / 1e3), WINDOW, T0)
    ends_ms = sum(gaps_ms) - WINDOW // MS
    if ends_ms > 0:
        position, velocity, _ = sampled(path, 0, ends_ms)
        np.testing.assert_allclose(position, speed * np.arange(ends_ms) / 1e3, atol=1e-9)
        np.testing.assert_allclose(velocity, speed, atol=1e-7)


def test_a_corner_is_cut_by_a_sixth_of_its_change_of_velocity_over_the_window() -> None:
    path = SmoothPath(knots([1000, 1000], [0.0, 0.3, 0.0]), WINDOW, T0)
    position, _, acceleration = sampled(path, 1000, 1001)
    assert position[0] == pytest.approx(0.3 - 0.6 * 0.1 / 6)
    assert acceleration[0] == pytest.approx(-0.6 / 0.1)


def test_a_plan_at_10_hz_is_followed_within_two_milliradians_and_without_lag() -> None:
    t = np.arange(0, 6000, 100)
    path = smooth(Knots(T0 + t * MS, 0.3 * np.sin(2 * np.pi * t / 3000)[:, None]), T0, LIMITS)
    assert path.window_ns == WINDOW
    position, _, _ = sampled(path, 1000, 4000)
    wish = 0.3 * np.sin(2 * np.pi * np.arange(1000, 4000) / 3000)
    assert np.abs(position - wish).max() < 0.0025
    lags = range(-30, 31)
    best = min(lags, key=lambda lag: float(np.square(position[50:-50] - np.roll(wish, lag)[50:-50]).sum()))
    assert best == 0  # ms


@given(st.lists(st.floats(-0.3, 0.3), min_size=4, max_size=12))
def test_rough_plans_are_rounded_more_until_they_can_be_followed(values: list[float]) -> None:
    path = smooth(knots([100] * (len(values) - 1), values), T0, LIMITS)
    followed = path.peak_acceleration <= PLAN_SHARE * LIMITS.acceleration
    assert (followed & (path.peak_jerk <= PLAN_SHARE * LIMITS.jerk)).all() or path.window_ns == WINDOWS_NS[-1]


def test_long_after_its_end_it_stands_still_exactly() -> None:
    path = SmoothPath(knots([100, 100], [0.1, 0.2, 0.3]), WINDOW, T0)
    state = path.at(T0 + 10**13)
    assert state[0, 0] == pytest.approx(0.3, abs=1e-13)
    assert state[1, 0] == pytest.approx(0.0, abs=1e-11)


def test_the_past_of_a_plan_is_kept_where_it_leads_to_it() -> None:
    past, new = knots([100, 100, 100], [0.0, 0.1, 0.2, 0.3]), knots([100, 100], [0.1, 0.5, 0.6])
    new = Knots(new.times + 100 * MS, new.values)
    joined = new.after(past, T0)
    assert joined.times.tolist() == [T0 + ms * MS for ms in (100, 200, 300)]  # nothing after `since` but itself
    assert new.after(past, T0 - 1).times[0] == T0
    jump = Knots(new.times, new.values + 0.2)
    assert jump.after(past, T0 - 1) is jump
