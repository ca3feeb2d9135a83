"""The time base of an episode: even, faithful to the clock, honest about gaps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.streams.ticks import Ticker

STEP = 100_000_000


@pytest.mark.parametrize("rate_hz", [10.0, 9.98, 10.03, 25.0, 30.0, 60.0])
def test_a_camera_of_any_rate_gives_the_steps_that_went_by_and_no_gap(rate_hz: float) -> None:
    ticker = Ticker(STEP)
    found = [ticker.take(int(k * 1e9 / rate_hz)) for k in range(int(60 * rate_hz))]
    taken = [tick for tick in found if tick is not None]
    assert taken[0].missed is None
    assert all(tick.missed == 0 for tick in taken[1:])
    assert len(taken) == pytest.approx(600, rel=0.012)


@given(st.integers(0, 2**32))
def test_jitter_below_a_quarter_of_a_step_is_no_gap(seed: int) -> None:
    jitter = np.random.default_rng(seed).integers(-STEP // 5, STEP // 5, 200)
    ticker = Ticker(STEP)
    found = [ticker.take(10 * STEP + k * STEP + int(j) // 2) for k, j in enumerate(jitter)]
    assert all(tick is not None and not tick.missed for tick in found)


@pytest.mark.parametrize("lost", [1, 2, 7])
def test_lost_frames_are_counted(lost: int) -> None:
    ticker = Ticker(STEP)
    ticker.take(0)
    ticker.take(STEP)
    tick = ticker.take((2 + lost) * STEP)
    assert tick is not None and tick.missed == lost
