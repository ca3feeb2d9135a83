"""The demo node over real topics and services, against three nodes that keep the demo's contract without a robot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import MultiThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

pytestmark = pytest.mark.live
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
DONE_AFTER_S = 0.6


class Stage:
    """sim, policy and commander as far as the demo sees them: a task is done a while after arming."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.armed_s: float | None = None
        self.commander_state = State.PRIMARY_STATE_ACTIVE
        self.heard = ""
        self.sim, self.policy, self.commander = (rclpy.create_node(name) for name in ("sim", "policy", "commander"))
        self.sim.declare_parameter("seed", 0)
        self.sim.declare_parameter("task", "reach_red")
        self.sim.create_service(Trigger, "sim/reset", self.reset)
        self.success = self.sim.create_publisher(Bool, "sim/success", LATCHED)
        self.overview = self.sim.create_publisher(Image, "overview/image_raw", qos_profile_sensor_data)
        self.sim.create_timer(0.1, self.look)
        for node in (self.policy, self.commander):
            node.create_service(GetState, f"{node.get_name()}/get_state", self.state)
        self.policy.create_subscription(String, "instruction", self.hear, LATCHED)
        self.policy_timing = self.policy.create_publisher(DiagnosticStatus, "policy/timing", 10)
        self.policy.create_timer(0.1, self.think)
        self.marks: list[dict[str, Any]] = []
        self.policy.create_subscription(String, "/episode", lambda m: self.marks.append(json.loads(m.data)), 20)
        self.commander_timing = self.commander.create_publisher(DiagnosticStatus, "commander/timing", 10)
        self.commander.create_service(Trigger, "commander/arm", self.arm)
        self.commander.create_service(Trigger, "commander/stop", self.stop)
        self.commander.create_service(ChangeState, "commander/change_state", self.change)

    def reset(self, _request: Any, response: Any) -> Any:
        assert self.armed_s is None, "a reset while armed"
        assert self.commander_state == State.PRIMARY_STATE_INACTIVE, "a reset while the commander may hold"
        self.log.append(f"reset {self.sim.get_parameter('seed').value} {self.sim.get_parameter('task').value}")
        response.success = True
        return response

    def look(self) -> None:
        done = self.armed_s is not None and time.monotonic() - self.armed_s > DONE_AFTER_S
        self.success.publish(Bool(data=done))
        data = array("B", bytes(60 * 80 * 3))
        self.overview.publish(Image(height=60, width=80, encoding="rgb8", step=240, data=data))
        self.overview.publish(Image(height=60, width=80, encoding="rgb8", step=240))  # and one without pixels

    def state(self, _request: Any, response: Any) -> Any:
        response.current_state = State(id=self.commander_state)
        return response

    def change(self, request: Any, response: Any) -> Any:
        activate = request.transition.id == Transition.TRANSITION_ACTIVATE
        self.commander_state = State.PRIMARY_STATE_ACTIVE if activate else State.PRIMARY_STATE_INACTIVE
        response.success = True
        return response

    def hear(self, message: String) -> None:
        self.heard = message.data

    def think(self) -> None:
        stamp = str(self.policy.get_clock().now().nanoseconds)
        values = {"stamp_ns": stamp, "wait_ms": "1", "inference_ms": "80", "first_command_ms": "88.5"}
        message = DiagnosticStatus(values=[KeyValue(key=key, value=value) for key, value in values.items()])
        self.policy_timing.publish(message)
        if self.armed_s is not None:
            self.commander_timing.publish(message)

    def arm(self, _request: Any, response: Any) -> Any:
        assert self.commander_state == State.PRIMARY_STATE_ACTIVE
        self.log.append(f"arm for {self.heard}")
        self.armed_s = time.monotonic()
        response.success = True
        return response

    def stop(self, _request: Any, response: Any) -> Any:
        self.armed_s = None
        response.success = True
        return response


@pytest.fixture
def stage(rclpy_context: object) -> Iterator[Stage]:
    """The three nodes, served by an executor of their own."""
    stage = Stage()
    executor = MultiThreadedExecutor(2)
    for node in (stage.sim, stage.policy, stage.commander):
        executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    yield stage
    executor.shutdown()
    thread.join()
    for node in (stage.sim, stage.policy, stage.commander):
        node.destroy_node()


def start(**parameters: object) -> subprocess.Popen[str]:
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={json.dumps(value)}")]
    command = [sys.executable, "-m", "vla_ros.nodes.demo", "--ros-args", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ))


def test_a_short_tour_ends_with_table_report_and_pictures(stage: Stage, tmp_path: Path) -> None:
    process = start(episodes=2, seed=7, out=str(tmp_path))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["complete"] and report["success_rate"] == 1.0 and report["chunks"] > 4
    assert report["chunk_ms_p50"] == 80.0 and report["camera_to_command_without_inference_ms_p50"] == 8.5
    first, second = report["results"]
    assert stage.log == [
        f"reset 7 {first['task']}",
        f"arm for {first['instruction']}",
        f"reset 8 {second['task']}",
        f"arm for {second['instruction']}",
    ]
    assert stage.marks == 2 * [{"event": "start"}, {"event": "end", "success": True}]
    assert len(list(tmp_path.glob("*.gif"))) == 2 and (tmp_path / "sheet.png").is_file()
    assert "camera to command" in output and "2/2" in output
    assert all(0.2 < row["seconds"] < 5.0 for row in report["results"])  # 0.6 s, far below the limit of 12 s


def test_a_free_sentence_runs_until_the_time_is_up(stage: Stage, tmp_path: Path) -> None:
    process = start(instruction="dance a little", time_limit_s=1.5, out=str(tmp_path))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    (row,) = json.loads((tmp_path / "report.json").read_text())["results"]
    assert (row["task"], row["success"]) == ("", None) and 1.4 < row["seconds"] < 5.0
    assert stage.log[-1] == "arm for dance a little"


def test_sigterm_mid_episode_disarms_and_ends(stage: Stage, tmp_path: Path) -> None:
    process = start(instruction="dance a little", time_limit_s=60.0, out=str(tmp_path))
    deadline = time.monotonic() + 30
    while stage.armed_s is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=5)
    assert process.returncode == 0 and "Traceback" not in output, output
    assert stage.armed_s is None


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"instruction": "a" * 10_000}, "10000 characters"), ({"series": "tuor"}, "did you mean 'tour'")],
)
def test_settings_that_make_no_sense_are_one_line(
    ros_domain: int, tmp_path: Path, parameters: dict[str, object], message: str
) -> None:
    process = start(out=str(tmp_path), **parameters)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert output.startswith("demo: error: ") and message in output and output.count("\n") == 1, output


def test_only_a_latched_fault_of_its_own_commander_ends_an_episode(rclpy_context: object) -> None:
    """A commander that waits for a fresh plan is still armed; another robot's fault is another robot's affair."""
    from diagnostic_msgs.msg import DiagnosticArray

    from vla_ros.nodes.demo import DemoNode

    node = DemoNode()

    def hear(name: str, level: bytes, message: str) -> str | None:
        values = [KeyValue(key="package", value="vla_ros")]
        said = DiagnosticArray(status=[DiagnosticStatus(name=name, level=level, message=message, values=values)])
        said.header.stamp = node.get_clock().now().to_msg()
        node._on_diagnostics(said)
        return node.fault()

    error, warn, fine = DiagnosticStatus.ERROR, DiagnosticStatus.WARN, DiagnosticStatus.OK
    assert hear("/commander", fine, "armed: waiting for a fresh plan") is None
    assert hear("/commander", warn, "armed: waiting for a fresh plan") is None
    assert hear("/left_arm/commander", error, "fault: stop requested") is None
    assert hear("/policy", error, "out of memory") is None
    assert hear("/commander", error, "fault: the plan is stale") == "the plan is stale"
    node.destroy_node()
