"""The commander stopped, killed and ended; a driver that is gone; what does not even start."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alterations import mute
from harness import Graph, hold_under
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSProfile
from safetensors.numpy import load_file, save_file
from sensor_msgs.msg import JointState
from waiting import until

pytestmark = pytest.mark.faults

PERIODS_S = 0.05  # five control periods without a command are a silence
GOES_BACK_S = 1.2  # until it is 0.25 rad off its command, and back to where it is within its limits
DEADLINE_S = 0.1  # a driver's; the commander offers half of it


def test_the_commander_gets_sigkill(graph: Graph, row: Any) -> None:
    line, recording = row("commander gets SIGKILL", "the driver's deadline passes"), graph.robot.recording
    graph.move()
    passed_s: list[float] = []
    driver = graph.world.node.create_subscription(
        JointState,
        graph.robot.spec.command.topic,
        lambda _: None,
        QoSProfile(depth=1, deadline=Duration(seconds=DEADLINE_S)),
        event_callbacks=SubscriptionEventCallbacks(deadline=lambda _: passed_s.append(time.time())),
    )
    until(lambda: time.time() > recording.since()[0].sent_s + 0.5)
    killed_s = time.time()
    assert not [s for s in passed_s if s > killed_s - 0.2], "the deadline passes although the commander lives"
    graph.running["commander"].kill()
    until(lambda: time.time() > killed_s + 0.6)
    line.hold_s = recording.time_to_hold_s(killed_s)
    told_s = next(s for s in passed_s if s > killed_s) - killed_s
    line.observed = f"the driver is told after {told_s:.3f} s that its deadline of {DEADLINE_S} s passed"
    graph.world.node.destroy_subscription(driver)
    assert told_s < DEADLINE_S + PERIODS_S and line.hold_s < PERIODS_S
    assert recording.violations() == []
    graph.start("commander")
    started_s = time.time()
    until(lambda: time.time() > started_s + 0.6)
    assert recording.since(started_s) == [], "a restarted commander commands, although nobody armed it"
    graph.move()


def test_the_commander_hangs(graph: Graph, row: Any) -> None:
    line, recording = row("commander SIGSTOPped for 1 s", "commands cease; then within limits"), graph.robot.recording
    graph.move()
    stopped_s = time.time()
    graph.running["commander"].send_signal(signal.SIGSTOP)
    until(lambda: time.time() > stopped_s + 1.0)
    line.hold_s = recording.time_to_hold_s(stopped_s)
    assert line.hold_s < PERIODS_S
    graph.running["commander"].send_signal(signal.SIGCONT)
    until(lambda: time.time() > stopped_s + 2.0)
    line.observed = f"silent; afterwards {graph.world.diagnostics['commander'].message}"
    assert recording.since(stopped_s + 1.0)
    assert recording.violations() == []


def test_the_commander_gets_sigterm(graph: Graph, row: Any) -> None:
    line, recording = row("commander gets SIGTERM", "controlled stop; ends with 0 within 2 s"), graph.robot.recording
    graph.move()
    ended_s, process = time.time(), graph.running["commander"]
    process.terminate()
    assert process.wait(5) == 0
    line.observed = f"ended with 0 after {time.time() - ended_s:.2f} s"
    assert time.time() - ended_s < 2.0
    until(lambda: time.time() > ended_s + 0.6)
    line.hold_s = recording.time_to_hold_s(ended_s)
    assert line.hold_s < 0.5
    assert recording.violations() == []
    assert np.abs(recording.positions()[-1] - graph.robot.position)[:6].max() < 0.01
    graph.start("commander")


def test_the_driver_is_gone(graph: Graph, row: Any) -> None:
    """Its joint states cease, and it follows commands no more."""
    line = row("driver gone", "hold, joint states are stale")

    def inject() -> None:
        graph.robot.alter["joint_states"] = mute
        graph.robot.follows = False

    def mend() -> None:
        graph.robot.follows = True

    hold_under(graph, line, inject, ("commander", "joint states are stale"), mend)


def test_a_driver_that_does_not_follow(graph: Graph, row: Any) -> None:
    """Joint states go on, of an arm that stands still: its brake is shut, or another mode is on."""
    line = row("driver ignores commands", "fault at max_following_error; goes back")

    def inject() -> None:
        graph.robot.follows = False
        graph.robot.alter["chunk"] = lambda message: away(message)

    def away(message: Any) -> Any:
        for point in message.points:
            point.positions[0] += 0.3
        return message

    def mend() -> None:
        graph.robot.follows = True

    cause = ("commander", "shoulder_pan_joint is 0.2")
    hold_under(graph, line, inject, cause, mend, limit_s=GOES_BACK_S)


def test_a_second_publisher_of_commands(graph: Graph, row: Any) -> None:
    line, spec = row("a second publisher of commands", "arming is refused"), graph.robot.spec
    graph.rest()
    rival = graph.world.node.create_publisher(JointState, spec.command.topic, 1)
    until(lambda: "2 publishers" in graph.arming()[1], 5, "the refusal")
    line.observed = graph.arming()[1]
    graph.world.node.destroy_publisher(rival)


@pytest.mark.parametrize(
    ("fault", "node", "parameters", "complaint"),
    [
        ("robot unknown", "commander", {"robot": "nobody"}, "nothing is called 'nobody'"),
        ("execution unknown", "commander", {"execution": "warp"}, "execution"),
        ("auto_arm is no boolean", "commander", {"auto_arm": "maybe"}, "must be true or false"),
        ("threads out of range", "policy", {"threads": 0}, "must be a whole number from 1 to 64"),
        ("model unknown", "policy", {"model": "nobody"}, "nobody"),
        ("device unknown", "policy", {"device": "quantum"}, "quantum"),
    ],
)
def test_bad_parameters(
    processes: Any, row: Any, fault: str, node: str, parameters: dict[str, object], complaint: str
) -> None:
    line = row(fault, "one line, exit code 2")
    refuses(line, processes, node, parameters, complaint)


def test_weights_with_nan(processes: Any, row: Any, tiny_model: Path, tmp_path: Path) -> None:
    line, model = row("NaN in the weights", "does not configure, exit code 2"), tmp_path / "model"
    shutil.copytree(tiny_model, model, ignore=shutil.ignore_patterns("manifest.json"))
    weights = load_file(model / "model.safetensors")
    name = next(name for name in weights if name.endswith("head.linear.weight"))
    weights[name].flat[0] = np.nan
    save_file(weights, model / "model.safetensors")
    refuses(line, processes, "policy", {"model": model}, "not finite")


def refuses(line: Any, processes: Any, node: str, parameters: dict[str, object], complaint: str) -> None:
    """The node ends with code 2 and one line that names the cause."""
    code = processes.start(node, **parameters).wait(60)
    output = processes.output(node)
    said = [text for text in output.splitlines() if text.startswith((f"{node}: error:", "vla_ros: error:"))]
    line.observed = f"{code}: {' '.join(said)}"
    assert code == 2 and len(said) == 1 and "Traceback" not in output, output
    assert complaint in said[0]
