"""Failures are too many only if they are many and recent."""

from __future__ import annotations

import pytest

from vla_ros.ros.failure_watch import FailureWatch


@pytest.mark.parametrize(
    ("moments_s", "now_s", "too_many"),
    [((), 0.0, False), ((0, 1), 1.0, False), ((0, 1, 2), 4.9, True), ((0, 1, 2), 5.0, False), ((0, 6, 7, 8), 9, True)],
)
def test_three_within_five_seconds_are_too_many(moments_s: tuple[float, ...], now_s: float, too_many: bool) -> None:
    clock = iter([*moments_s, now_s])
    watch = FailureWatch(clock_s=lambda: next(clock))
    for _ in moments_s:
        watch.failed()
    assert watch.too_many is too_many


def test_what_is_forgotten_does_not_count() -> None:
    watch = FailureWatch(most=1)
    watch.failed()
    assert watch.too_many and watch.limit == "1 failures within 5 s"
    watch.clear()
    assert not watch.too_many
