"""A sign of life that is due."""

from __future__ import annotations

from vla_ros.ros.commanding.dead_man import DeadMan


def test_it_is_due_only_where_the_contract_wants_it() -> None:
    assert DeadMan("/alive", 0.0, lambda: 1e9).overdue() is None


def test_overdue_until_the_first_and_after_the_last() -> None:
    now_s = [5.0]
    found = DeadMan("/alive", 0.5, lambda: now_s[0])
    assert found.overdue() == "no sign of life on /alive yet (guard.dead_man_s is 0.5 s)"
    found.heard()
    assert found.overdue() is None
    now_s[0] += 0.5
    assert found.overdue() is None
    now_s[0] += 0.01
    assert found.overdue() == "no sign of life on /alive for 0.51 s (guard.dead_man_s is 0.5 s)"
    found.heard()
    assert found.overdue() is None
