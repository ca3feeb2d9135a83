"""The whole core in a closed loop on a fake clock: streams, prefetch, plan and guard under random delays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_robot import MS, STEP_NS, chunk_of, small_robot

from vla_ros.core.execution.commander import Commander
from vla_ros.core.execution.guard import Mode
from vla_ros.core.planning.replan_clock import ReplanClock
from vla_ros.core.streams.synchroniser import Synchroniser
from vla_ros.core.types import ActionChunk, Observation

HORIZON = 12


def wished(now_ns: int) -> float:
    """Where joint a should be at a moment [rad]: at most 0.63 rad/s."""
    return 0.3 * math.sin(2 * math.pi * now_ns / 3e9)


def infer(observation: Observation) -> ActionChunk:
    """A policy that knows the future: each action is where the arm should be when it is due."""
    due = observation.stamp_ns + STEP_NS * np.arange(1, HORIZON + 1)
    return chunk_of(observation.stamp_ns, [[wished(int(t)), 0.0, 0.5] for t in due])


@dataclass
class Loop:
    """A policy process with one inference at a time, and a commander; 10 ms a turn."""

    delays_ms: list[int]
    execute_steps: int = 2
    now_ns: int = 3000 * MS
    position: np.ndarray = field(default_factory=lambda: np.array([0.0, 0.0, 0.5]))
    executed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        robot = small_robot()
        self.sync, self.commander = Synchroniser(robot), Commander(robot)
        self.clock = ReplanClock(self.execute_steps, HORIZON, STEP_NS, round(robot.guard.plan_timeout_s * 1e9))
        self.busy: tuple[int, ActionChunk] | None = None
        self.inferred = 0

    def turn(self) -> float | None:
        """One control period; returns the error of joint a [rad], None while nothing is planned."""
        self.now_ns += 10 * MS
        self.sense()
        self.plan()
        verdict = self.commander.tick(self.now_ns)
        if self.commander.timing is not None:
            self.executed.append(self.commander.timing.stamp_ns)
        if verdict.command is not None:
            self.position = verdict.command
        if self.commander.plan.stamp_ns is None:
            return None
        return abs(float(self.position[0]) - wished(self.now_ns))

    def sense(self) -> None:
        self.sync.push_state(self.now_ns, self.position)
        self.commander.on_state(self.now_ns, self.position, self.now_ns)
        if self.now_ns % STEP_NS == 0:
            for camera in ("front", "wrist"):
                self.sync.push_image(camera, self.now_ns, np.zeros((3, 4, 3), np.uint8))

    def plan(self) -> None:
        if self.busy is not None and self.busy[0] <= self.now_ns:
            sent_ns, chunk = self.busy
            self.commander.on_chunk(chunk, sent_ns)
            self.clock.planned(chunk.stamp_ns, sent_ns)
            self.busy = None
        if self.busy is None:
            observation = self.sync.observe(self.now_ns)
            if observation is not None and self.clock.is_due(observation.stamp_ns):
                delay_ms = self.delays_ms[self.inferred % len(self.delays_ms)]
                self.busy, self.inferred = (self.now_ns + delay_ms * MS, infer(observation)), self.inferred + 1


def assert_true_to_the_plan(loop: Loop) -> None:
    for _ in range(7):
        loop.turn()
    assert loop.commander.arm(loop.now_ns) is None
    errors = [loop.turn() for _ in range(360)]
    begun = next(i for i, error in enumerate(errors) if error is not None)
    # A second for an arm that stands still to catch up with a plan at 0.63 rad/s, within its acceleration and jerk.
    settled = [error for error in errors[begun + 100 :] if error is not None]
    assert loop.commander.guard.mode is Mode.ARMED, loop.commander.guard.reason
    assert len(settled) >= 200
    assert max(settled) < 0.005  # the sine rounded over 0.1 s is 0.0022 off
    assert loop.executed == sorted(set(loop.executed))
    assert len(loop.executed) >= 7


@settings(max_examples=40)
@given(st.lists(st.integers(0, 190), min_size=1, max_size=20), st.integers(1, 2))
def test_motion_is_true_to_the_plan_for_any_delays_that_the_guard_allows(delays_ms: list[int], execute: int) -> None:
    assert_true_to_the_plan(Loop(delays_ms, execute))


@settings(max_examples=20)
@given(st.integers(0, 190), st.integers(3, 12))
def test_a_steady_delay_is_measured_and_long_chunks_are_replaced_in_time(delay_ms: int, execute: int) -> None:
    assert_true_to_the_plan(Loop([delay_ms], execute))


def hung() -> Loop:
    """In motion, and then no inference ends any more: at rest in time, and waiting."""
    loop = Loop([80])
    for _ in range(7):
        loop.turn()
    assert loop.commander.arm(loop.now_ns) is None
    for _ in range(100):
        loop.turn()
    hung_ns = loop.executed[-1]
    loop.busy = (10**15, infer(Observation(0, {}, np.zeros((1, 3), np.float32), "")))
    while not loop.commander.guard.waiting:
        loop.turn()
    assert loop.now_ns - hung_ns <= 460 * MS
    assert "waiting for a fresh plan: the plan is stale: 0.46 s old" in loop.commander.guard.reason
    for _ in range(50):
        loop.turn()
    assert loop.commander.at_rest
    return loop


def test_an_inference_that_takes_too_long_once_makes_the_arm_wait_and_go_on() -> None:
    loop = hung()
    held = loop.position.copy()
    for _ in range(100):
        loop.turn()
        np.testing.assert_array_equal(loop.position, held)
    loop.busy = None
    errors = [loop.turn() for _ in range(150)]
    assert loop.commander.guard.mode is Mode.ARMED and not loop.commander.guard.reason
    assert errors[-1] == pytest.approx(0.0, abs=0.005)


def test_an_inference_that_hangs_ends_in_a_fault_and_arming_resumes() -> None:
    loop = hung()
    held = loop.position.copy()
    while loop.commander.guard.mode is Mode.ARMED:
        loop.turn()
    assert "the plan is stale: 2.47 s old (limit 0.45 s); none came in its place" in loop.commander.guard.reason
    loop.busy = None
    for _ in range(100):
        loop.turn()
        np.testing.assert_array_equal(loop.position, held)
    assert loop.commander.arm(loop.now_ns) is None
    errors = [loop.turn() for _ in range(150)]
    assert errors[-1] == pytest.approx(0.0, abs=0.005)
