"""Signals to a commander and to its launcher, in motion: each delivers the stop, whatever the robot's interface."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Edits, Graph, running_graph, stands_still
from waiting import until

pytestmark = pytest.mark.faults

VELOCITY = ("type: JointState, rate_hz: 100", "type: Float64MultiArray, interface: velocity, rate_hz: 100")
EDITS: dict[str, Edits] = {"position": (), "velocity": (VELOCITY,)}
STILL_S = 0.6  # of the signal: 0.5 s of a controlled stop, and its way to the robot


@pytest.fixture(scope="module", params=list(EDITS))
def interface(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, interface: str) -> Iterator[Graph]:
    """The robot with either interface; each row starts its own commander."""
    with running_graph(tmp_path_factory.mktemp("graph"), edits=EDITS[interface]) as found:
        yield found


def start(graph: Graph, under: str) -> Any:
    """A commander in motion: itself, or under the launcher."""
    process = graph.launch() if under == "launcher" else graph.start("commander")
    graph.move()
    return process


def judge(graph: Graph, row: Any, signal_s: float, interface: str) -> None:
    """The last command holds, the robot stands."""
    until(lambda: time.time() > signal_s + STILL_S)
    robot = graph.robot
    assert stands_still(graph), f"it moves on: the last command was {robot.last}"
    expected = np.zeros_like(robot.position) if interface == "velocity" else robot.position
    assert np.abs(robot.last - expected)[:6].max() < 0.01, robot.last
    if interface == "position":
        row.hold_s = robot.recording.time_to_hold_s(signal_s)
        assert row.hold_s <= 0.5
        assert robot.recording.violations() == []


@pytest.mark.parametrize("under", ["node", "launcher"])
@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", "SIGTERM", "SIGINT"])
def test_an_ending_signal(graph: Graph, row: Any, interface: str, under: str, name: str) -> None:
    line = row(f"{name} to the {under}, {interface}", "the stop is delivered; ends with 0")
    process = start(graph, under)
    signal_s = time.time()
    process.send_signal(signal.Signals[name])
    assert process.wait(5) == 0
    line.observed = f"ended with 0 after {time.time() - signal_s:.2f} s"
    judge(graph, line, signal_s, interface)


@pytest.mark.parametrize("under", ["node", "launcher"])
def test_ctrl_z(graph: Graph, row: Any, interface: str, under: str) -> None:
    line = row(f"Ctrl-Z at the {under}, {interface}", "stops, then is suspended; fg moves nothing")
    process = start(graph, under)
    signal_s = time.time()
    process.send_signal(signal.SIGTSTP)
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text().split(")")[1].split()[0] == "T", 2, "suspension")
    line.observed = f"suspended after {time.time() - signal_s:.2f} s"
    judge(graph, line, signal_s, interface)
    os.kill(process.pid, signal.SIGCONT)
    time.sleep(0.5)
    assert stands_still(graph), "awake, it moves, although nobody armed it"
    graph.move()
    process.terminate()
    assert process.wait(5) == 0
