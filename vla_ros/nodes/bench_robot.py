"""Play a robot with cameras of any size for `vla-ros bench graph`, and measure what the other nodes do with it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray, String

from vla_ros.core.errors import VlaRosError
from vla_ros.core.robot import CameraSpec, load_robot
from vla_ros.media.sample_picture import sample_picture
from vla_ros.monitor.graph_report import graph_report
from vla_ros.monitor.latency import TimingLog
from vla_ros.monitor.top import StageLog
from vla_ros.ros.chunk_timing import listen_timing
from vla_ros.ros.clients import ServiceCaller
from vla_ros.ros.convert import array_to_joint_state, to_time
from vla_ros.ros.diagnostics import ERROR, node_of
from vla_ros.ros.images import array_to_compressed, array_to_image
from vla_ros.ros.ingest import COMPRESSED
from vla_ros.ros.parameters import declare, parameter
from vla_ros.ros.process.lifecycle import spin
from vla_ros.ros.qos import COMMAND, EVENTS, LATCHED, SENSOR

STATES_HZ, START_S, SETTLE_S = 100.0, 90.0, 3.0


@dataclass(frozen=True, slots=True)
class Parameters:
    """The bench's parameters."""

    robot: str = parameter("", "robot contract: a YAML file")
    seconds: float = parameter(20.0, "how long to measure", low=1.0, high=600.0)
    out: str = parameter("", "file for the report")


class BenchNode(Node):
    """Images, joint states that follow the commands, an instruction; and a log of what comes back."""

    def __init__(self) -> None:
        super().__init__("bench")
        self.parameters = declare(self, Parameters)
        self._robot = load_robot(self.parameters.robot)
        self._calls = ServiceCaller(self, triggers=("commander/arm",))
        self._timing, self._stages = TimingLog(), StageLog(limit=10_000)
        self._arrivals_s: list[float] = []
        self._load: list[float] = []
        self._own_p99_ms: list[float] = []
        self._says: dict[str, str] = {}
        self._faults = 0
        ends = self._robot.limits("lower"), self._robot.limits("upper")
        self._position = np.array(
            [(low + high) / 2 if np.isfinite(low + high) else 0.0 for low, high in zip(*ends, strict=True)]
        )
        self._make_topics()
        listen_timing(self, self._timing)
        self._thread = threading.Thread(target=self._measure_and_end, name="bench", daemon=True)

    def start(self) -> None:
        """Begin; the process ends by itself."""
        self._thread.start()

    def _make_topics(self) -> None:
        robot = self._robot
        self._shots = [self._shot(camera) for camera in robot.cameras]
        self.create_timer(1 / robot.cameras[0].rate_hz, self._shoot)
        self._states = self.create_publisher(JointState, robot.joint_states_topic, SENSOR)
        self.create_timer(1 / STATES_HZ, self._tell_states)
        self._instruction = self.create_publisher(String, robot.instruction_topic, LATCHED)
        self.create_subscription(Float64MultiArray, robot.command.topic, self._on_command, COMMAND)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, EVENTS)

    def _shot(self, camera: CameraSpec) -> Callable[[int], None]:
        """Return what publishes a camera's picture with a stamp. A JPEG is packed once: that is the camera's work."""
        frame = sample_picture(camera.width, camera.height)
        if not camera.compressed:
            raw = self.create_publisher(Image, camera.topic, SENSOR)
            return lambda now_ns: raw.publish(array_to_image(frame, now_ns))
        packed = self.create_publisher(CompressedImage, camera.topic + COMPRESSED, SENSOR)
        message = array_to_compressed(frame, 0)

        def publish(now_ns: int) -> None:
            message.header.stamp = to_time(now_ns)
            packed.publish(message)

        return publish

    def _shoot(self) -> None:
        """Shoot all cameras at once, as with one trigger for all: their phase would count as our delay."""
        now_ns = self._now_ns()
        for shoot in self._shots:
            shoot(now_ns)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _tell_states(self) -> None:
        self._states.publish(array_to_joint_state(self._robot.joint_names, self._position, self._now_ns()))

    def _on_command(self, message: Float64MultiArray) -> None:
        self._arrivals_s.append(time.monotonic())
        self._position = np.array(message.data)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if (name := node_of(status, self.get_namespace())) is not None:
                self._says[name] = status.message
                if name == "commander":
                    self._hear_commander(status)

    def _hear_commander(self, status: DiagnosticStatus) -> None:
        self._faults += status.level == ERROR
        said = {pair.key: pair.value for pair in status.values}
        self._load.append(float(said["cpu percent"]))
        self._own_p99_ms.append(float(said["period_ms p99"]))

    def _measure_and_end(self) -> None:
        """In a thread of its own, beside the executor's."""
        try:
            self._await("policy and commander", lambda: all(map(self._calls.is_active, ("policy", "commander"))))
            self._instruction.publish(String(data="push the red block to the left"))
            self._await("arming", self._arm)
            time.sleep(SETTLE_S)
            self._measure()
        except VlaRosError as error:
            self.get_logger().error(str(error))
        os.kill(os.getpid(), signal.SIGTERM)  # `spin` ends it; a shutdown from here may come amid a timer's publishing

    def _arm(self) -> bool:
        try:
            return self._calls.trigger("commander/arm")[0]
        except VlaRosError:
            return False  # lost, or the commander is busy; a robot that is only played may be armed twice

    def _measure(self) -> None:
        self._timing.take()
        self._arrivals_s, self._own_p99_ms, self._load, self._faults = [], [], [], 0
        time.sleep(self.parameters.seconds)
        arrivals_s, own_p99_ms, load = self._arrivals_s, self._own_p99_ms, self._load
        self._stages.add(self._timing.take())
        camera = self._robot.cameras[0]
        packed = ", JPEG" if camera.compressed else ""
        conditions = {
            "cameras": f"{len(self._robot.cameras)} of {camera.width}x{camera.height} at {camera.rate_hz:g} Hz{packed}",
            "command_rate_hz": self._robot.command.rate_hz,
            "seconds": self.parameters.seconds,
        }
        report = graph_report(self._stages.stages(), arrivals_s, own_p99_ms, load, self._says, self._faults, conditions)
        Path(self.parameters.out).write_text(json.dumps(report), encoding="utf-8")

    def _await(self, what: str, done: Callable[[], bool]) -> None:
        end_s = time.monotonic() + START_S
        while not done():
            if time.monotonic() > end_s:
                raise VlaRosError(f"waited {START_S:g} s for {what}; the nodes say: {self._says}")
            time.sleep(0.1)


def main() -> None:
    """Entry point."""
    spin(BenchNode, lambda node: node.start(), lambda node: None)


if __name__ == "__main__":
    main()
