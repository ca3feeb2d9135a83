"""What rounding explains is even; what it does not is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.spacing import even

MS = 1_000_000


def test_thirty_a_second_rounded_to_milliseconds() -> None:
    assert even([33 * MS, 67 * MS, 100 * MS]) == (33_333_333, 33_333_333)
    assert even([0, 33 * MS, 67 * MS, 100 * MS]) == (0, 33_333_333)
    assert even([33 * MS, 66 * MS, 100 * MS, 133 * MS]) == (33_333_333, 33_333_333)  # cut off


@given(st.integers(1, 200), st.integers(2, 60), st.integers(0, 3), st.sampled_from([round, math.floor, math.ceil]))
def test_any_rate_comes_back_from_any_rounding_to_milliseconds(
    rate: int, points: int, lead: int, rounded: object
) -> None:
    step_ns = 1e9 / rate
    true = [step_ns * (lead + i) for i in range(points)]
    found = even([rounded(time / MS) * MS for time in true])  # type: ignore[operator]
    assert found is not None
    start_ns, found_ns = found
    assert np.abs(start_ns + found_ns * np.arange(points) - true).max() <= 1.5 * MS
    if points > 20:
        assert found_ns == pytest.approx(step_ns, abs=1e5)


@given(st.integers(10, 300), st.integers(3, 30), st.data())
def test_what_is_two_milliseconds_off_is_not_even(step_ms: int, points: int, data: st.DataObject) -> None:
    times = [step_ms * (i + 1) * MS for i in range(points)]
    times[data.draw(st.integers(1, points - 2))] += 4 * MS
    assert even(times) is None


@pytest.mark.parametrize("times_ms", [[100, 100], [100, 200, 250], [200, 100], [0, 100, 0]])
def test_what_does_not_rise_evenly(times_ms: list[int]) -> None:
    assert even([time * MS for time in times_ms]) is None


def test_exact_times_stay_exact_whatever_their_step() -> None:
    assert even([7, 14, 21]) == (7, 7)
    assert even([1_000_000_007 * i for i in range(1, 1001)]) == (1_000_000_007, 1_000_000_007)
    assert even([100_000_000, 200_000_400, 299_999_900]) == (100_000_000, 100_000_000)
