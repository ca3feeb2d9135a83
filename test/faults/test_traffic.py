"""Too many messages, and messages that quality of service keeps from arriving."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Graph, rss_mb, running_graph
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from robot import SENTENCE
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory
from waiting import until

pytestmark = pytest.mark.faults

WARM_UP_S, MEASURE_S, GROWTH_MB = 4.0, 10.0, 30.0
VOLATILE = QoSProfile(depth=1)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Graph]:
    """The robot with policy and commander."""
    with running_graph(tmp_path_factory.mktemp("graph")) as found:
        found.start("policy", model=tiny_model)
        found.start("commander")
        yield found


@pytest.mark.parametrize(
    ("fault", "node", "kind", "topic", "qos", "policy"),
    [
        ("chunks published best-effort", "commander", JointTrajectory, "action_chunk", BEST_EFFORT, "RELIABILITY"),
    ],
)
def test_what_cannot_arrive_is_reported(
    graph: Graph, row: Any, fault: str, node: str, kind: Any, topic: str, qos: QoSProfile, policy: str
) -> None:
    line = row(fault, "reported in the node's log")
    publisher = graph.world.node.create_publisher(kind, topic, qos)
    complaint = f"Last incompatible policy: {policy}"
    until(lambda: complaint in graph.processes.output(node), 5, complaint)
    line.observed = f"{node}: offering incompatible QoS. {complaint}"
    graph.world.node.destroy_publisher(publisher)


def test_an_instruction_published_volatile_is_heard(graph: Graph, row: Any) -> None:
    line, sentence = row("instruction published volatile", "heard"), "push the green block to the right"
    publisher = graph.world.node.create_publisher(String, "/instruction", VOLATILE)
    until(lambda: publisher.get_subscription_count() > 0, 5, "a subscription that hears it")

    def heard() -> bool:
        publisher.publish(String(data=sentence))
        told = {pair.key: pair.value for pair in graph.world.diagnostics["policy"].values}
        return told.get("instruction") == sentence

    until(heard, 5, "the sentence in the policy's diagnostics")
    line.observed = "heard"
    graph.robot.say(SENTENCE)
    graph.world.node.destroy_publisher(publisher)


def test_any_quality_of_the_sensors_and_of_the_driver_works(graph: Graph, row: Any) -> None:
    line = row("reliable sensors, best-effort driver", "compatible: messages arrive")
    node, heard = graph.world.node, []
    spec = graph.robot.spec
    cameras = [node.create_publisher(Image, spec.cameras[0].topic, qos) for qos in (RELIABLE, BEST_EFFORT)]
    commands = node.create_subscription(JointState, spec.command.topic, heard.append, BEST_EFFORT)
    graph.move()
    until(lambda: len(heard) > 50, 5, "commands at a best-effort driver")
    until(lambda: all(camera.get_subscription_count() for camera in cameras), 5, "matched cameras")
    line.observed = "matched; a best-effort driver hears the commands"
    for camera in cameras:
        node.destroy_publisher(camera)
    node.destroy_subscription(commands)


def test_a_flood(graph: Graph, row: Any) -> None:
    line, folder = row("1 kHz on every input", "memory flat; nodes live on"), Path(__file__).parent
    graph.move()
    command = [sys.executable, "flood.py", str(graph.folder / "robot.yaml"), str(WARM_UP_S + MEASURE_S + 2)]
    flood = subprocess.Popen(command, cwd=folder, env=dict(os.environ), stdout=subprocess.PIPE, text=True)
    start_s = time.time()
    try:
        until(lambda: time.time() > start_s + WARM_UP_S)
        before = {node: rss_mb(process.pid) for node, process in graph.running.items()}
        until(lambda: time.time() > start_s + WARM_UP_S + MEASURE_S)
        assert flood.poll() is None, "the flood ended early"
        grown = {node: rss_mb(process.pid) - before[node] for node, process in graph.running.items()}
        graph.world.diagnostics.clear()
        until(lambda: set(graph.world.diagnostics) >= set(graph.running), 5, "diagnostics under the flood")
        rate = flood.communicate(timeout=20)[0].strip()
    finally:
        flood.kill()
    line.observed = f"{rate}; " + ", ".join(f"{node} {mb:+.1f} MB" for node, mb in grown.items())
    assert max(grown.values()) < GROWTH_MB
    assert int(rate.split()[0]) > 300, f"no flood: {rate}"
    assert graph.robot.recording.violations() == []
    graph.move()  # and afterwards all is as before
