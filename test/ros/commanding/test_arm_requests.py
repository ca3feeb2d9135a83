"""Which requests to arm are heard."""

from __future__ import annotations

import pytest

from vla_ros.ros.commanding.arm_requests import AFTER_PAUSE_S, LET_GO_S, PAUSE_S, ArmRequests


class Clock:
    """Steady time that the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def requests(clock: Clock) -> ArmRequests:
    return ArmRequests("~/lock_out false", clock)


def run(requests: ArmRequests, clock: Clock, seconds: float, period_s: float = 0.01) -> None:
    """The control loop and the callbacks at work."""
    for _ in range(round(seconds / period_s)):
        clock.now_s += period_s
        assert requests.beat("loop") == requests.beat("callbacks") == 0.0


def test_a_request_is_heard(requests: ArmRequests, clock: Clock) -> None:
    assert requests.refusal() is None
    run(requests, clock, 1.0)
    assert requests.refusal() is None


@pytest.mark.parametrize("first", ["request", "loop", "callbacks"])
def test_whoever_wakes_first_a_request_of_the_pause_is_refused(requests: ArmRequests, clock: Clock, first: str) -> None:
    run(requests, clock, 0.1)
    clock.now_s += 3.0
    if first != "request":
        assert requests.beat(first) == pytest.approx(3.0)
    assert "paused for 3.0 s" in str(requests.refusal())
    run_on = "callbacks" if first == "loop" else "loop"
    requests.beat(run_on)
    clock.now_s += 0.01
    assert "paused for" in str(requests.refusal()), "another one that waited"
    for _ in range(round(AFTER_PAUSE_S / 0.01) + 2):
        clock.now_s += 0.01
        requests.beat("loop")
        requests.beat("callbacks")
    assert requests.refusal() is None


def test_a_late_period_is_no_pause(requests: ArmRequests, clock: Clock) -> None:
    run(requests, clock, 0.1)
    clock.now_s += PAUSE_S
    assert requests.beat("loop") == 0.0
    assert requests.refusal() is None


def test_a_loop_that_was_ended_does_not_pause(requests: ArmRequests, clock: Clock) -> None:
    run(requests, clock, 0.1)
    requests.rest("loop")
    for _ in range(100):
        clock.now_s += 0.1
        requests.beat("callbacks")
    assert requests.refusal() is None
    assert requests.beat("loop") == 0.0


def test_requests_that_go_on_through_a_stop_do_not_take_it_back(requests: ArmRequests, clock: Clock) -> None:
    for _ in range(50):
        clock.now_s += 0.001
        assert requests.refusal() is None
    requests.stopped()
    for _ in range(2000):
        clock.now_s += 0.001
        assert "through a stop" in str(requests.refusal())
    clock.now_s += LET_GO_S + 0.001
    assert requests.refusal() is None


def test_after_a_stop_the_first_request_is_heard_and_may_be_repeated_at_once(
    requests: ArmRequests, clock: Clock
) -> None:
    clock.now_s += 1.0
    requests.stopped()
    assert requests.refusal() is None
    clock.now_s += 0.005
    assert requests.refusal() is None


def test_a_lock_out_lasts_until_it_is_released(requests: ArmRequests, clock: Clock) -> None:
    requests.locked_out = True
    for _ in range(3):
        clock.now_s += 100.0
        assert requests.refusal() == requests.barred() == "locked out; release it first with ~/lock_out false"
    requests.locked_out = False
    assert requests.refusal() is requests.barred() is None
