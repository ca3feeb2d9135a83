"""Finite, inside, slow enough."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from small_robot import small_robot

from vla_ros.core.execution.limits import Limits
from vla_ros.core.robot import GuardSpec

inside = st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1)).map(np.array)
anywhere = st.tuples(*[st.floats(-1e6, 1e6)] * 3).map(np.array)


@given(anywhere, inside, st.floats(0.0, 0.1))
def test_a_command_is_inside_and_slow_enough_and_as_near_as_it_can_be(
    target: np.ndarray, last: np.ndarray, dt_s: float
) -> None:
    limits = Limits(small_robot())
    command = limits.slowed(limits.with_margin(target), last, dt_s)
    assert (command >= limits.lower).all()
    assert (command <= limits.upper).all()
    assert (np.abs(command - last) <= limits.max_velocity * dt_s + 1e-12).all()
    wanted = np.clip(target, limits.lower, limits.upper)
    assert (np.abs(command - wanted) <= np.maximum(np.abs(last - wanted) - limits.max_velocity * dt_s, 0) + 1e-9).all()


def test_what_is_allowed_passes_unchanged() -> None:
    target = np.array([0.01, -0.01, 0.05])
    limits = Limits(small_robot())
    np.testing.assert_array_equal(limits.slowed(limits.with_margin(target), np.zeros(3), 0.01), target)


def test_the_margin_is_kept_by_motion_and_left_alone_by_standing_still() -> None:
    limits = Limits(small_robot(guard=GuardSpec(position_margin=0.1)))
    np.testing.assert_allclose(limits.with_margin([2, -2, 2]), [0.9, -0.9, 1.0])
    np.testing.assert_allclose(limits.within([0.95, -0.99, 0.0]), [0.95, -0.99, 0.0])


def test_gross_violations_are_named() -> None:
    limits = Limits(small_robot())
    assert limits.not_finite([[0, 0, 0], [0, np.nan, np.inf]]) == "not finite: b, g"
    assert limits.not_finite([0, 0, 0]) is None
    assert limits.far_outside([[0, 0, 0], [0, -1.25, 0]]) == "b is 0.250 outside its limits (tolerance 0.1)"
    assert limits.far_outside([1.09, -1.09, 1.09]) is None
    assert limits.far_from([0.0, 0.0, 1.0], [0.5, -0.5, 0.0]) is None
    assert limits.far_from([0.0, 0.1, 0.0], [0.0, -0.5, 0.0]) == "b is asked to jump by 0.600 (limit 0.5)"
