"""Writers of one topic, told apart by id or by number."""

from __future__ import annotations

import pytest

from vla_ros.ros.commanding.talkers import ALIVE_S, Talkers

ARM, GRIPPER = ("shoulder", "elbow"), ("finger",)


def info(writer: int, number: int, *, named: bool) -> dict[str, object]:
    """What the middleware says of a message."""
    gid = {"publisher_gid": {"data": bytes([writer])}} if named else {}
    return {"publication_sequence_number": number} | gid


@pytest.fixture(params=[True, False], ids=["by id", "by number"])
def named(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_one_writer_that_loses_messages(named: bool) -> None:
    talkers = Talkers()
    for number in (1, 2, 3, 10, 11, 500):
        talkers.heard(info(0, number, named=named), ARM, number / 100)
        assert talkers.doubled(number / 100) is None


@pytest.mark.parametrize("lead", [0, 1, 3, 100_000])
def test_two_writers_of_one_joint(named: bool, lead: int) -> None:
    """Also where both began at the same moment, and count the same numbers."""
    talkers = Talkers()
    for tick in range(1, 20):
        talkers.heard(info(0, tick, named=named), ARM, tick / 100)
        talkers.heard(info(1, tick + lead, named=named), ARM, tick / 100)
    assert talkers.doubled(0.2) == "elbow"


def test_two_writers_of_different_joints(named: bool) -> None:
    talkers = Talkers()
    for tick in range(1, 20):
        talkers.heard(info(0, tick, named=named), ARM, tick / 100)
        talkers.heard(info(1, tick + 5, named=named), GRIPPER, tick / 100)
        talkers.heard(info(2, tick, named=named), (), tick / 100)  # names none of ours
    assert talkers.doubled(0.2) is None


def test_a_writer_that_was_started_again(named: bool) -> None:
    """Killed at 1 s; its successor counts from 1."""
    talkers = Talkers()
    for tick in range(100):
        talkers.heard(info(0, tick + 1, named=named), ARM, tick / 100)
    start_s = 1.0 + ALIVE_S
    for tick in range(100):
        talkers.heard(info(1, tick + 1, named=named), ARM, start_s + tick / 100)
        assert talkers.doubled(start_s + tick / 100) is None


def test_one_that_says_a_joint_now_and_then_is_told_too() -> None:
    talkers = Talkers()
    for tick in range(100):
        talkers.heard(info(0, tick, named=True), ARM, tick / 100)
    talkers.heard(info(1, 7, named=True), (*GRIPPER, "elbow"), 1.0)
    assert talkers.doubled(1.0) == "elbow"


@pytest.mark.parametrize("said", [{}, {"publication_sequence_number": 2**64 - 1}])
def test_where_the_middleware_tells_nothing_all_count_as_one(said: dict[str, object]) -> None:
    talkers = Talkers()
    for tick in range(10):
        talkers.heard(said, ARM, tick / 100)
    assert talkers.doubled(0.1) is None
