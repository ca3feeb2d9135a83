"""Others on a commander's topics: two who command, plan, or say where the robot is; and those that do not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Graph, hold_under, moves_under
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory
from waiting import until

from vla_ros.ros.convert import array_to_joint_state
from vla_ros.ros.qos import COMMAND, SENSOR

pytestmark = pytest.mark.faults

FOREIGN = tuple(f"left_joint_{number}" for number in range(6))


def test_a_second_publisher_of_commands_appears(graph: Graph, row: Any) -> None:
    line, node, topic = (
        row("a rival of commands in motion", "hold within a second"),
        None,
        graph.robot.spec.command.topic,
    )
    node, made = graph.world.node, []

    def inject() -> None:
        made.append(node.create_publisher(JointState, topic, 1))

    hold_under(graph, line, inject, ("commander", f"2 publishers on {topic}"), limit_s=1.2)
    assert "2 publishers on" in graph.arming()[1] and "/world" in graph.arming()[1]
    node.destroy_publisher(made[0])
    graph.move()


def test_a_second_source_of_plans(graph: Graph, row: Any) -> None:
    line, node = row("two policies plan", "hold within two seconds, arming refused"), graph.world.node
    other = node.create_publisher(JointTrajectory, "action_chunk", COMMAND)

    def both(message: Any) -> Any:
        other.publish(message)
        return message

    cause = ("commander", "several publishers of plans on /action_chunk")
    hold_under(graph, line, lambda: graph.robot.alter.update(chunk=both), cause, limit_s=2.0)
    graph.robot.alter["chunk"] = both
    until(lambda: "several publishers of plans" in graph.arming()[1], 5, "the refusal")
    node.destroy_publisher(other)
    graph.move()


def test_a_publisher_of_plans_that_says_nothing(graph: Graph, row: Any) -> None:
    line, node = row("a second policy that plans nothing", "goes on"), graph.world.node
    other = node.create_publisher(JointTrajectory, "action_chunk", COMMAND)
    moves_under(graph, line, lambda: None)
    node.destroy_publisher(other)


def test_two_publishers_of_one_joint(graph: Graph, row: Any) -> None:
    line, node = row("two publishers name the same joints", "arming is refused"), graph.world.node
    graph.rest()
    other = node.create_publisher(JointState, graph.robot.spec.joint_states_topic, SENSOR)

    def both(message: Any) -> Any:
        other.publish(message)
        return message

    graph.robot.alter["joint_states"] = both
    until(lambda: "several publishers of" in graph.arming()[1], 5, "the refusal")
    line.observed = graph.arming()[1]
    assert "_joint on /joint_states (publishers: /world, /world)" in line.observed
    graph.robot.alter.clear()
    node.destroy_publisher(other)
    graph.move()


@pytest.mark.parametrize("count", [1, 4])
def test_joint_states_of_other_machines(graph: Graph, row: Any, count: int) -> None:
    line, node = row(f"{count} foreign joint states per own", "goes on; none refused"), graph.world.node
    other = node.create_publisher(JointState, graph.robot.spec.joint_states_topic, SENSOR)

    def crowd(message: Any) -> Any:
        for _ in range(count):
            other.publish(array_to_joint_state(FOREIGN, np.zeros(len(FOREIGN)), graph.robot.now_ns()))
        return message

    graph.robot.alter["joint_states"] = crowd
    try:
        until(lambda: "commander" in graph.world.diagnostics, 5, "diagnostics")
        refused = graph.value("commander", "refused")
        moves_under(graph, line, lambda: graph.robot.alter.update(joint_states=crowd))
        assert graph.value("commander", "refused") == refused
        assert int(graph.value("commander", "joint_states foreign")) > 50 * count
        assert float(graph.value("commander", "joint_states rate_hz")) > 60
    finally:
        graph.robot.alter.clear()
        node.destroy_publisher(other)
