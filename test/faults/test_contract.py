"""What a robot's contract and its remaps change: a sign of life that is wanted, topics of other names."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from harness import Graph, Row, hold_under, running_graph
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty
from waiting import until

pytestmark = pytest.mark.faults

RELIABLE = QoSProfile(depth=1)
DEAD_MAN = ("max_following_error: 0.25", "max_following_error: 0.25, dead_man_s: 0.3")


def test_a_remapped_command_topic(fresh_graph: Graph, row: Any) -> None:
    line, node = row("a rival on the remapped topic", "arming is refused"), fresh_graph.world.node
    topic = fresh_graph.robot.spec.command.topic
    fresh_graph.start("commander", remaps=(f"{topic}:=/arm/commands",))
    until(lambda: fresh_graph.arming()[0], 10, "arming")
    fresh_graph.world.trigger("commander/stop")
    rival = node.create_publisher(JointState, "/arm/commands", 1)
    until(lambda: "2 publishers on /arm/commands" in fresh_graph.arming()[1], 5, "the refusal")
    line.observed = fresh_graph.arming()[1]
    node.destroy_publisher(rival)


def test_a_namespace_has_a_stop_of_its_own(fresh_graph: Graph, row: Any) -> None:
    line, world = row("stop in another namespace, and in its own", "armed still; then stopped"), fresh_graph.world
    publish = world.node.create_publisher
    stops = {name: publish(Empty, name, RELIABLE) for name in ("/stop", "/left/stop")}
    fresh_graph.processes.start("commander", remaps=("__ns:=/left",), robot=fresh_graph.folder / "robot.yaml")
    until(lambda: stops["/left/stop"].get_subscription_count() >= 1, 30, "a listener")
    until(lambda: world.trigger("left/commander/arm")[0], 20, "arming")
    until(lambda: world.says("left/commander", "armed"), 5, "its diagnostics")
    stops["/stop"].publish(Empty())
    time.sleep(0.3)
    assert world.says("left/commander", "armed")
    stops["/left/stop"].publish(Empty())
    stopped = "fault: stop requested on the stop topic"
    until(lambda: world.says("left/commander", stopped), 5, "the stop")
    line.observed = stopped


def test_a_sign_of_life_that_ceases(tmp_path: Path, row: Any) -> None:
    line = row("the sign of life ceases", "hold after dead_man_s; no arming without")
    with running_graph(tmp_path, edits=(DEAD_MAN,)) as graph:
        graph.start("commander")
        _ceases(graph, line)


def _ceases(graph: Graph, line: Row) -> None:
    node = graph.world.node
    assert "no sign of life on /alive yet" in graph.arming()[1]
    publisher = node.create_publisher(Empty, "alive", RELIABLE)
    alive = node.create_timer(0.1, lambda: publisher.publish(Empty()))
    hold_under(graph, line, alive.cancel, ("commander", "no sign of life on /alive for 0.3"), alive.reset, limit_s=0.6)
    alive.cancel()
    until(lambda: "no sign of life on /alive for" in graph.arming()[1], 5, "the refusal")
    node.destroy_timer(alive)
    node.destroy_publisher(publisher)
