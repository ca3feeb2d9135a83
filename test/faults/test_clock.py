"""Simulated time that jumps and stands still."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from alterations import mute
from harness import Graph, hold_under, running_graph
from robot import SimClock

pytestmark = pytest.mark.faults


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


def test_paused(graph: Graph, clock: SimClock, row: Any) -> None:
    line = row("simulation paused", "hold, named by the wall clock")

    def pause() -> None:
        clock.running = False
        graph.robot.alter["clock"] = mute

    def resume() -> None:
        clock.now_ns()
        clock.running = True
        time.sleep(0.1)

    # Without time there is no way to go: the step to the last measured position is made when time goes on.
    hold_under(graph, line, pause, ("commander", "the clock stands still"), resume, slack_rad=0.02)
