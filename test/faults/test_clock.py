"""Simulated time that jumps and stands still."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from alterations import mute
from harness import HOLD_S, Graph, hold_under, moves_under, running_graph
from robot import SimClock
from waiting import until

pytestmark = pytest.mark.faults

STALL_S = 2.1  # that time may stand still while nothing moves, and a look of the watch


@pytest.fixture(scope="module")
def clock() -> SimClock:
    return SimClock()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, clock: SimClock) -> Iterator[Graph]:
    """The robot in simulated time, with a commander."""
    with running_graph(tmp_path_factory.mktemp("graph"), clock) as found:
        found.start("commander", use_sim_time=True)
        yield found


def test_back(graph: Graph, clock: SimClock, row: Any) -> None:
    line = row("clock jumps 3 s back", "hold, stamps judged anew")
    hold_under(graph, line, lambda: clock.jump(-3.0), ("commander", "the clock jumped back"))
    graph.move()


def test_forward(graph: Graph, clock: SimClock, row: Any) -> None:
    line = row("clock jumps 10 s forward", "hold on a stale plan")
    hold_under(graph, line, lambda: clock.jump(10.0), ("commander", "stale"))
    graph.move()


def pause(graph: Graph, clock: SimClock) -> None:
    clock.running = False
    graph.robot.alter["clock"] = mute


def resume(graph: Graph, clock: SimClock) -> None:
    clock.now_ns()
    clock.running = True
    graph.robot.alter.clear()


def test_stalled(graph: Graph, clock: SimClock, row: Any) -> None:
    line = row("simulation stalls for 1 s", "time stands still for all; goes on")

    def stall() -> None:
        pause(graph, clock)
        stalled_s = time.time()
        until(lambda: time.time() > stalled_s + 1.0)
        resume(graph, clock)

    moves_under(graph, line, stall)


def test_paused(graph: Graph, clock: SimClock, row: Any) -> None:
    line = row("simulation paused", "fault after 2 s, by the wall clock")

    def mend() -> None:
        resume(graph, clock)
        time.sleep(0.1)

    cause = ("commander", "the clock stands still")
    hold_under(graph, line, lambda: pause(graph, clock), cause, mend, limit_s=STALL_S + HOLD_S)
