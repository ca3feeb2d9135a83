"""The dashboard's node: what the page shows comes from topics, what it does goes through everyone's services."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from vla_ros.core.errors import ContractError, MessageError, VlaRosError
from vla_ros.core.inputs import check_instruction
from vla_ros.core.robot import load_robot
from vla_ros.core.types import NS_PER_S
from vla_ros.monitor.dashboard import serve
from vla_ros.monitor.latency import TimingLog
from vla_ros.monitor.top import StageLog
from vla_ros.ros.clients import ServiceCaller
from vla_ros.ros.convert import COMMAND_TYPES, compressed_to_array, image_to_array, trajectory_to_chunk
from vla_ros.ros.diagnostics import node_of
from vla_ros.ros.hearing import hear_everyone
from vla_ros.ros.lifecycle import signals_ask
from vla_ros.ros.parameters import declare, parameter
from vla_ros.ros.qos import COMMAND, EVENTS, LATCHED, SENSOR
from vla_ros.ros.scheduling import stand_back
from vla_ros.ros.spinning import spinning
from vla_ros.ros.starting import start_ros
from vla_ros.ros.timing import listen_timing

STOP_TIMEOUT_S = 1.0
NICE = 10  # those who watch stand back behind those who move the robot
LEVELS = {b"\x00": "ok", b"\x01": "warn", b"\x02": "error", b"\x03": "stale"}


@dataclass(frozen=True, slots=True)
class Parameters:
    """The dashboard's parameters."""

    robot: str = parameter("ur5e_tabletop", "robot contract: a YAML file, or a name in config/robots")
    host: str = parameter("127.0.0.1", "address to listen on; others than loopback need a token")
    port: int = parameter(8080, "port to listen on", low=1, high=65535)
    token: str = parameter("", "what a browser must give as ?token=...")


class DashboardNode(Node):
    """A `monitor.dashboard.Robot` over ROS topics. Messages are kept as they came: nothing is decoded unasked."""

    def __init__(self) -> None:
        super().__init__("dashboard")
        self.parameters = declare(self, Parameters)
        self._robot = load_robot(self.parameters.robot)
        self._caller = ServiceCaller(self, STOP_TIMEOUT_S, ("commander/arm", "commander/stop"))
        self._says: dict[str, dict[str, Any]] = {}
        self._pictures: dict[str, Any] = {}
        self._vectors: dict[str, list[float | None]] = {}
        self._plan: dict[str, Any] = {}
        self._instruction = ""
        self._log, self._stages = TimingLog(), StageLog()
        self._lock = threading.Lock()
        listen_timing(self, self._log)
        listen = self.create_subscription
        for camera in self._robot.cameras:
            kind, suffix = (CompressedImage, "/compressed") if camera.compressed else (Image, "")
            listen(kind, camera.topic + suffix, partial(self._pictures.__setitem__, camera.name), SENSOR)
            listen(Image, f"world_model/{camera.name}/comparison",
                   partial(self._pictures.__setitem__, f"{camera.name} expected"), SENSOR)  # fmt: skip
        listen(DiagnosticArray, "/diagnostics", self._on_diagnostics, EVENTS)
        listen(JointState, self._robot.joint_states_topic, self._on_joint_state, SENSOR)
        listen(JointTrajectory, "action_chunk", self._on_chunk, COMMAND)
        hear_everyone(self, String, self._robot.instruction_topic, self._on_instruction)
        for spec, columns in self._robot.outputs:
            if spec.interface == "position":  # velocities are no place to draw
                names = [self._robot.joint_names[column] for column in columns]
                listen(COMMAND_TYPES[spec.type], spec.topic, partial(self._on_command, names), COMMAND)
        self._sentences = self.create_publisher(String, self._robot.instruction_topic, LATCHED)

    def state(self) -> Mapping[str, Any]:
        """What the page shows."""
        with self._lock:
            self._stages.add(self._log.take())
            stages = {name: [row.p50, row.p99] for name, row in self._stages.stages().items()}
        now_s = time.monotonic()
        nodes = {name: says | {"age_s": now_s - says["at_s"]} for name, says in dict(self._says).items()}
        return {
            "robot": self._robot.name, "joints": list(self._robot.joint_names), "instruction": self._instruction,
            "cameras": list(self._robot.camera_names), "pictures": list(self._pictures), "nodes": nodes,
            "measured": self._vectors.get("measured"), "sent": self._vectors.get("sent"), "plan": self._plan,
            "stages": stages,
        }  # fmt: skip

    def frame(self, name: str) -> NDArray[np.uint8] | None:
        """The newest picture of a camera, or of what was expected of it."""
        message = self._pictures.get(name)
        if message is None:
            return None
        try:
            return compressed_to_array(message) if isinstance(message, CompressedImage) else image_to_array(message)
        except MessageError:
            return None

    def instruct(self, sentence: str) -> str:
        """Publish a sentence, where it is one that the policy would take."""
        try:
            self._sentences.publish(String(data=check_instruction(sentence)))
        except MessageError as error:
            return str(error)
        return ""

    def arm(self) -> tuple[bool, str]:
        """Through the commander's service, as anyone."""
        return self._trigger("commander/arm")

    def stop(self) -> tuple[bool, str]:
        """Through the commander's service, as anyone."""
        return self._trigger("commander/stop")

    def _trigger(self, service: str) -> tuple[bool, str]:
        try:
            return self._caller.trigger(service)
        except VlaRosError as error:
            return False, str(error)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if (name := node_of(status, self.get_namespace())) is not None:
                self._says[name] = {
                    "level": LEVELS.get(status.level, "stale"), "message": status.message, "at_s": time.monotonic(),
                    "values": {pair.key: pair.value for pair in status.values},
                }  # fmt: skip

    def _on_joint_state(self, message: JointState) -> None:
        found = dict(zip(message.name, message.position, strict=False))
        self._vectors["measured"] = [_plain(found.get(name)) for name in self._robot.joint_names]

    def _on_command(self, names: list[str], message: Any) -> None:
        values = message.data if hasattr(message, "data") else getattr(message, "position", None)
        if values is None:
            values = message.points[-1].positions if message.points else []
        found = dict(zip(names, values, strict=False))
        self._vectors["sent"] = [_plain(found.get(name)) for name in self._robot.joint_names]

    def _on_chunk(self, message: JointTrajectory) -> None:
        try:
            chunk = trajectory_to_chunk(message)
        except (MessageError, ContractError) as error:
            self.get_logger().warning(f"action chunk refused: {error}", throttle_duration_sec=5.0)
            return
        found = {name: [_plain(value) for value in column]
                 for name, column in zip(chunk.names, chunk.actions.T.tolist(), strict=True)}  # fmt: skip
        self._plan = {
            "at_s": time.monotonic(), "step_s": chunk.step_ns / NS_PER_S,
            "joints": [found.get(name) for name in self._robot.joint_names],
        }  # fmt: skip

    def _on_instruction(self, message: String) -> None:
        self._instruction = message.data


def _plain(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def main() -> None:
    """Entry point."""
    stand_back(NICE)
    asked = signals_ask()
    try:
        start_ros(signal_handler_options=SignalHandlerOptions.NO)
        node = DashboardNode()
        wanted = node.parameters
        with spinning(node):
            asyncio.run(serve(node, wanted.host, wanted.port, wanted.token, lambda: not asked and node.context.ok()))
    except VlaRosError as error:
        raise SystemExit(f"dashboard: error: {error}") from None
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
