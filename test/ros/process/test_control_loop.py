"""The control period: kept beside slow callbacks, ended when asked, and never ended by itself without a word."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from rclpy.parameter import Parameter

from vla_ros.ros.process.control_loop import ControlLoop
from vla_ros.ros.process.lifecycle import ManagedNode


@pytest.fixture
def node(rclpy_context: object) -> Iterator[ManagedNode]:
    node = ManagedNode("example")
    yield node
    node.destroy_node()


def test_it_keeps_its_rate_while_nobody_spins_and_ends_when_asked(node: ManagedNode) -> None:
    steps: list[float] = []
    loop = ControlLoop(node, 0.01, lambda: steps.append(time.monotonic()))
    time.sleep(1.0)
    loop.close()
    count = len(steps)
    assert 50 <= count <= 102  # a loaded machine may lose some, none may be made up for in a burst
    time.sleep(0.05)
    assert len(steps) == count


def test_a_step_that_is_late_is_not_followed_by_a_burst(node: ManagedNode) -> None:
    steps: list[float] = []

    def step() -> None:
        steps.append(time.monotonic())
        if len(steps) == 3:
            time.sleep(0.3)

    loop = ControlLoop(node, 0.02, step)
    time.sleep(0.6)
    loop.close()
    late = steps[2] + 0.3
    assert sum(late <= moment < late + 0.03 for moment in steps) <= 3


def test_an_error_of_a_step_is_left_for_spin(node: ManagedNode) -> None:
    def step() -> None:
        raise RuntimeError("a bug of ours")

    loop = ControlLoop(node, 0.01, step)
    deadline = time.monotonic() + 5
    while node.broken is None and time.monotonic() < deadline:
        time.sleep(0.01)
    loop.close()
    assert str(node.broken) == "a bug of ours"


def test_simulated_time_drives_it_by_a_timer(node: ManagedNode) -> None:
    node.set_parameters([Parameter("use_sim_time", value=True)])
    before = threading.active_count()
    loop = ControlLoop(node, 0.01, lambda: None)
    assert threading.active_count() == before and len(list(node.timers)) == 1
    loop.close()
    assert not list(node.timers)


def test_priority_is_taken_by_every_thread_or_said_to_be_ordinary() -> None:
    code = """
import os, threading
from vla_ros.ros.process.scheduling import take_priority
threading.Thread(target=threading.Event().wait, daemon=True).start()
said = take_priority(0), take_priority(7)
print(*said, {os.sched_getscheduler(int(t)) for t in os.listdir("/proc/self/task")}, sep="|")
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    none, some, policies = output.strip().split("|")
    assert none == "ordinary"
    if some.startswith("real-time"):
        assert some == "real-time, SCHED_FIFO 7" and policies == str({os.SCHED_FIFO})
    else:
        assert some.startswith("ordinary: ") and policies == str({os.SCHED_OTHER})
