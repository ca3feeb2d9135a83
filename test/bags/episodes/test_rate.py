"""A dataset's rate is whole; what rounding explains is understood, and nothing else."""

from __future__ import annotations

import math

import pytest

from vla_ros.bags.episodes.rate import fps_of, fps_of_step
from vla_ros.core.errors import ConfigError

STEPS_S = (0.1, 0.033333, 0.0333, 0.033, 1 / 30, 0.067, 0.0667, 0.02, 0.05, 0.0166667, 0.017, 0.001, 1.0, 0.2)
RATES = (10, 30, 30, 30, 30, 15, 15, 50, 20, 60, 59, 1000, 1, 5)


@pytest.mark.parametrize(("step_s", "fps"), list(zip(STEPS_S, RATES, strict=True)))
def test_what_rounding_explains_is_a_whole_rate(step_s: float, fps: int) -> None:
    assert fps_of_step(step_s) == fps


@pytest.mark.parametrize("digits", [4, 5, 6])
def test_every_rate_is_understood_from_its_rounded_step(digits: int) -> None:
    for fps in range(1, 241):
        found = fps_of_step(round(1 / fps, digits))
        assert abs(found - fps) <= (0 if digits > 4 or fps < 100 else 3)  # at four digits high rates run together


@pytest.mark.parametrize("step_s", [0.3, 0.07, 0.15, 2.0, 0.0334567, 1.5])
def test_another_step_is_refused_with_a_way_out(step_s: float) -> None:
    with pytest.raises(ConfigError, match=r"whole number of them; try --fps \d"):
        fps_of_step(step_s)


@pytest.mark.parametrize("step_s", [0.0, -0.1, math.nan, math.inf])
def test_a_step_that_is_none_is_refused(step_s: float) -> None:
    with pytest.raises(ConfigError, match="step must be > 0 s, got"):
        fps_of_step(step_s)
    with pytest.raises(ConfigError, match="fps must be > 0, got"):
        fps_of(step_s)


def test_a_rate_is_whole_or_nearly() -> None:
    assert [fps_of(fps) for fps in (10, 29.97, 59.94, 30.0)] == [10, 30, 60, 30]
    for fps in (29.9, 12.5, 0.4):
        with pytest.raises(ConfigError, match="fps must be"):
            fps_of(fps)
