"""The frame rate of a dataset, a whole number, from a user's or a contract's value."""

from __future__ import annotations

import math
from decimal import Decimal

from vla_ros.core.errors import ConfigError

NEAR = 0.002  # of a rate: 29.97 is 30
ROUNDED_S, ROUNDED = 0.0005, 0.015  # a step may be rounded to 1 ms, and be off by so much of itself for it


def fps_of(fps: float) -> int:
    """Return a rate that is whole, or nearly. ConfigError for any other."""
    if not (math.isfinite(fps) and fps > 0):
        raise ConfigError(f"fps must be > 0, got {fps:g}")
    whole = round(fps)
    if abs(whole - fps) > NEAR * fps:
        raise ConfigError(f"fps must be a whole number, got {fps:g}")
    return whole


def fps_of_step(step_s: float) -> int:
    """Return the rate whose step, rounded as far as `step_s` [s] is, equals it: 0.1, 0.0333, 0.033 are 10, 30, 30."""
    if not (math.isfinite(step_s) and step_s > 0):
        raise ConfigError(f"step must be > 0 s, got {step_s:g}")
    fps = round(1 / step_s)
    off_s = abs(1 / fps - step_s) if fps else math.inf
    if off_s > max(min(_rounding_s(step_s), ROUNDED_S, ROUNDED * step_s), 1e-9):
        raise ConfigError(
            f"a step of {step_s:g} s is {1 / step_s:.4g} frames a second, and must be a whole number of them; "
            f"try --fps {max(fps, 1)}"
        )
    return fps


def _rounding_s(step_s: float) -> float:
    """Return half a unit of the last given digit."""
    exponent = Decimal(repr(step_s)).as_tuple().exponent
    unit: float = 10.0 ** float(exponent)
    return 0.501 * unit  # 0.03125 may have become 0.0312
