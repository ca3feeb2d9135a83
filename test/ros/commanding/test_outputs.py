"""Commands to a robot whose gripper has a rate of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from vla_ros.core.execution.guard import Mode, Verdict
from vla_ros.core.robot import CommandSpec, RobotSpec, load_robot
from vla_ros.ros.commanding.outputs import Outputs

pytestmark = pytest.mark.live

PERIOD_NS = 10_000_000
STILL, MOVING = np.zeros(7), np.full(7, 0.5)


def robot(gripper_hz: float, interface: Any = "position") -> RobotSpec:
    arm = CommandSpec("/arm", "Float64MultiArray", 100.0)
    return replace(
        load_robot("ur5e_tabletop"),
        command=arm,
        gripper_command=CommandSpec("/gripper", "Float64MultiArray", gripper_hz, interface),
    )


class Bench:
    """A node with outputs, and what comes out."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.heard: dict[str, list[float]] = {"/arm": [], "/gripper": []}
        for topic, values in self.heard.items():
            node.create_subscription(Float64MultiArray, topic, lambda m, v=values: v.append(m.data[-1]), 500)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)

    def outputs(self, spec: RobotSpec, dry_run: bool = False) -> Outputs:
        made = Outputs(self.node, spec, dry_run)
        until_s = time.monotonic() + 10
        while any(self.node.count_subscribers(topic) < 1 for topic in made.topics) and time.monotonic() < until_s:
            time.sleep(0.01)
        time.sleep(0.2)
        return made

    def listen(self) -> None:
        until_s = time.monotonic() + 0.3
        while time.monotonic() < until_s:
            self._executor.spin_once(timeout_sec=0.02)


@pytest.fixture
def bench(rclpy_context: object) -> Iterator[Bench]:
    node = rclpy.create_node("bench")
    yield Bench(node)
    node.destroy_node()


def armed(tick: int, velocity: Any = MOVING) -> Verdict:
    return Verdict(np.full(7, 0.001 * tick), Mode.ARMED, "", velocity, tick * PERIOD_NS)


@pytest.mark.parametrize(("gripper_hz", "expected"), [(10.0, 10), (30.0, 30), (50.0, 50), (100.0, 100), (500.0, 100)])
def test_each_output_has_its_own_rate_and_none_is_faster_than_the_commander(
    bench: Bench, gripper_hz: float, expected: int
) -> None:
    outputs = bench.outputs(robot(gripper_hz))
    for tick in range(1, 101):
        outputs.publish(armed(tick))
        if tick % 20 == 0:
            bench.listen()
    assert len(bench.heard["/arm"]) == 100
    assert abs(len(bench.heard["/gripper"]) - expected) <= 1


def test_a_stop_reaches_a_slow_gripper_when_it_begins_and_when_it_has_come_to_rest(bench: Bench) -> None:
    """By velocity it would go on for a second otherwise."""
    outputs = bench.outputs(robot(1.0, "velocity"))
    for tick in range(1, 11):
        outputs.publish(armed(tick))
    bench.listen()
    assert bench.heard["/gripper"] == [0.5]
    position, speeds = np.full(7, 0.01), (0.4, 0.2, 0.0, 0.0, 0.0)
    for number, speed in enumerate(speeds):
        outputs.publish(Verdict(position, Mode.FAULT, "stop", np.full(7, speed), (20 + number) * PERIOD_NS))
    bench.listen()
    assert bench.heard["/gripper"][1:] == [0.4, 0.0]
    outputs.flush()


def test_between_two_periods_the_arm_alone_is_told(bench: Bench) -> None:
    outputs = bench.outputs(robot(10.0))
    outputs.publish(armed(1))
    bench.listen()
    before = len(bench.heard["/gripper"])
    for tick in range(2, 5):
        outputs.publish(armed(tick), periodic=False)
    bench.listen()
    assert len(bench.heard["/arm"]) == 4 and len(bench.heard["/gripper"]) == before


def test_after_a_clock_that_went_back_a_slow_output_is_not_silent(bench: Bench) -> None:
    outputs = bench.outputs(robot(10.0))
    for tick in (10_000, 1, 2, 3):
        outputs.publish(armed(tick))
    bench.listen()
    assert len(bench.heard["/gripper"]) == 2


def test_in_dry_run_it_is_no_publisher_at_all(bench: Bench) -> None:
    outputs = bench.outputs(robot(10.0), dry_run=True)
    outputs.publish(armed(1))
    assert outputs.topics == () and bench.node.count_publishers("/arm") == 0


def test_listeners_that_do_not_answer_do_not_keep_it_waiting(bench: Bench) -> None:
    outputs = bench.outputs(robot(10.0))
    started_s = time.monotonic()
    outputs.publish(armed(1))
    outputs.flush()
    assert time.monotonic() - started_s < 1.0
