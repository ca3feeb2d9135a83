"""The dashboard's node: what the page shows comes from topics, what it does goes through everyone's services."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from vla_ros.bags.episodes.marks import EPISODE, parse_mark
from vla_ros.core.errors import ConfigError, ContractError, MessageError, VlaRosError
from vla_ros.core.robot import load_robot
from vla_ros.core.streams.admission import MAX_INSTRUCTION, check_instruction
from vla_ros.core.types import NS_PER_S
from vla_ros.monitor.dashboard.events import Episodes, Events
from vla_ros.monitor.dashboard.says import Says
from vla_ros.monitor.dashboard.server import serve
from vla_ros.monitor.latency import TimingLog
from vla_ros.monitor.top import StageLog
from vla_ros.ros.chunk_timing import listen_timing
from vla_ros.ros.commanding.stop_line import StopLine
from vla_ros.ros.convert import COMMAND_TYPES, trajectory_to_chunk
from vla_ros.ros.images import compressed_to_array, image_to_array
from vla_ros.ros.listening.everyone import hear_everyone
from vla_ros.ros.parameters import declare, parameter
from vla_ros.ros.process.lifecycle import signals_ask
from vla_ros.ros.process.scheduling import stand_back_here
from vla_ros.ros.process.spinning import spinning
from vla_ros.ros.process.starting import start_ros
from vla_ros.ros.qos import COMMAND, EVENTS, LATCHED, SENSOR

NICE = 10  # threads that watch stand back behind what moves the robot, and behind STOP
LEVELS = {b"\x00": "ok", b"\x01": "warn", b"\x02": "error", b"\x03": "stale"}
TOKEN_VARIABLE = "VLA_ROS_DASHBOARD_TOKEN"
MOST_POINTS = 256  # of what is shown; anyone may publish more
GRAPH_S = 1.0
OVERVIEW, LOOKED_AT_S = "overview", 3.0  # the simulator's picture for people, drawn only while somebody looks


@dataclass(frozen=True, slots=True)
class Parameters:
    """The dashboard's parameters. The token is none of them, as anyone on the ROS domain may read those: it comes from
    the environment variable VLA_ROS_DASHBOARD_TOKEN, or from `token_file`.

    It publishes std_msgs/Empty on `stop` at once when STOP is pressed, then calls `commander/stop` and
    `commander/lock_out`; and on `alive`, at 5 Hz, while a page says that a person watches.
    """

    robot: str = parameter("ur5e_tabletop", "robot contract: a YAML file, or a name in config/robots")
    host: str = parameter("127.0.0.1", "address to listen on; others than loopback need a token")
    port: int = parameter(8080, "port to listen on", low=1, high=65535)
    token_file: str = parameter("", "file whose first line is the token; empty: VLA_ROS_DASHBOARD_TOKEN, or none")


class DashboardNode(Node):
    """A `dashboard.server.Robot` over ROS topics. Messages are kept as they came: nothing is decoded unasked."""

    def __init__(self) -> None:
        super().__init__("dashboard")
        self.parameters = declare(self, Parameters)
        self._refuse_token_parameter()
        self._robot = load_robot(self.parameters.robot)
        self.line = StopLine(self)
        self.confirm, self.arm, self.alive = self.line.confirm, self.line.arm, self.line.alive
        self._says, self._events, self._episodes = Says(self.get_namespace()), Events(), Episodes()
        self._armed_s: float | None = None
        self._started_s = time.monotonic()
        self._graph: tuple[float, list[str]] = (-math.inf, [])
        self._overview: Any = None
        self._overview_offered, self._overview_asked_s = False, -math.inf
        self._pictures: dict[str, Any] = {}
        self._vectors: dict[str, list[float | None]] = {}
        self._plan: dict[str, Any] = {}
        self._instruction = ""
        self._log, self._stages = TimingLog(), StageLog()
        self._lock = threading.Lock()
        listen_timing(self, self._log)
        self._listen()
        self.create_timer(0.5, self._mind_overview, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._sentences = self.create_publisher(String, self._robot.instruction_topic, LATCHED)

    def _refuse_token_parameter(self) -> None:
        given = self.declare_parameter("token", "", ParameterDescriptor(dynamic_typing=True)).value
        self.undeclare_parameter("token")
        if given:
            raise ConfigError(
                f"parameter 'token' can be read by anyone on the ROS domain: set {TOKEN_VARIABLE}, or token_file"
            )

    def _listen(self) -> None:
        listen = self.create_subscription
        for camera in self._robot.cameras:
            kind, suffix = (CompressedImage, "/compressed") if camera.compressed else (Image, "")
            listen(kind, camera.topic + suffix, partial(self._pictures.__setitem__, camera.name), SENSOR)
            keep = partial(self._pictures.__setitem__, _expected(camera.name))
            listen(Image, f"world_model/{camera.name}/comparison", keep, SENSOR)
        listen(DiagnosticArray, "/diagnostics", self._on_diagnostics, EVENTS)
        listen(JointState, self._robot.joint_states_topic, self._on_joint_state, SENSOR)
        listen(JointTrajectory, "action_chunk", self._on_chunk, COMMAND)
        hear_everyone(self, String, self._robot.instruction_topic, self._on_instruction)
        hear_everyone(self, String, EPISODE, self._on_episode)
        for spec, columns in self._robot.outputs:
            if spec.interface == "position":  # velocities are no place to draw
                names = [self._robot.joint_names[column] for column in columns]
                listen(COMMAND_TYPES[spec.type], spec.topic, partial(self._on_command, names), COMMAND)

    def state(self) -> Mapping[str, Any]:
        """Return what the page shows."""
        with self._lock:
            self._stages.add(self._log.take())
            stages = {name: [row.p50, row.p99] for name, row in self._stages.stages().items()}
        return {
            "robot": self._robot.name,
            "joints": list(self._robot.joint_names),
            "instruction": self._instruction,
            "pictures": [*[OVERVIEW] * self._overview_offered, *sorted(self._pictures.keys() - {OVERVIEW})],
            "expected": [_expected(name) for name in self._robot.camera_names],
            "nodes": self._says.told(),
            "present": self._present(),
            "up_s": time.monotonic() - self._started_s,
            "episode": self._episodes.told(),
            "events": self._events.told(),
            "measured": self._vectors.get("measured"),
            "sent": self._vectors.get("sent"),
            "plan": self._plan,
            "stages": stages,
            "dead_man_s": self._robot.guard.dead_man_s,
        }

    def frame(self, name: str) -> NDArray[np.uint8] | None:
        """Return the newest picture of a camera, or of what was expected of it."""
        if name == OVERVIEW:
            self._overview_asked_s = time.monotonic()
        message = self._pictures.get(name)
        if message is None:
            return None
        try:
            return compressed_to_array(message) if isinstance(message, CompressedImage) else image_to_array(message)
        except MessageError:
            return None

    def instruct(self, sentence: str) -> str:
        """Publish a sentence, if the policy would take it; return why not, or nothing."""
        try:
            self._sentences.publish(String(data=check_instruction(sentence)))
        except MessageError as error:
            return str(error)
        return ""

    def halt(self) -> None:
        """Send the stop; returns at once."""
        self.line.halt()
        self._events.add("warn", "STOP was sent")

    def release(self, cancelled: threading.Event) -> tuple[bool, str]:
        """End the lock-out."""
        done, message = self.line.release(cancelled)
        if not cancelled.is_set():
            self._events.add("ok" if done else "warn", f"released {message}".strip())
        return done, message

    def armed_at_s(self) -> float | None:
        """Return when the commander last said that it is armed [monotonic]; None if it last said something else."""
        return self._armed_s

    def _present(self) -> list[str]:
        """Return the nodes of this namespace that are in the graph, silent ones too."""
        asked_s, names = self._graph
        if time.monotonic() - asked_s > GRAPH_S:
            own = self.get_namespace()
            names = sorted({name for name, space in self.get_node_names_and_namespaces() if space == own})[:64]
            self._graph = time.monotonic(), names
        return names

    def _mind_overview(self) -> None:
        """The simulator draws its picture for people only while somebody listens: only while somebody looks."""
        topic = self.resolve_topic_name(f"{OVERVIEW}/image_raw")
        self._overview_offered = self.count_publishers(topic) > 0
        looked_at = time.monotonic() - self._overview_asked_s < LOOKED_AT_S
        if looked_at and self._overview is None:
            self._overview = self.create_subscription(
                Image, topic, partial(self._pictures.__setitem__, OVERVIEW), SENSOR
            )
        elif self._overview is not None and not looked_at:
            self.destroy_subscription(self._overview)
            self._overview = None
            self._pictures.pop(OVERVIEW, None)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            pairs = [(pair.key, pair.value) for pair in status.values]
            level = LEVELS.get(status.level, "stale")
            name = self._says.hear(status.name, status.hardware_id, level, status.message, pairs)
            if name == "commander":
                self._armed_s = time.monotonic() if ("mode", "armed") in pairs else None
            if name is not None:
                self._events.hear(name, level, status.message, dict(pairs).get("mode", ""))

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
            self.get_logger().warning(f"action chunk refused: {str(error)[:500]}", throttle_duration_sec=5.0)
            return
        columns = dict(zip(chunk.names, chunk.actions.T, strict=True))
        joints = [_column(columns.get(name)) for name in self._robot.joint_names]
        self._plan = {"at_s": time.monotonic(), "step_s": chunk.step_ns / NS_PER_S, "joints": joints}

    def _on_instruction(self, message: String) -> None:
        self._instruction = message.data[:MAX_INSTRUCTION]

    def _on_episode(self, message: String) -> None:
        try:
            mark = parse_mark(message.data[:MAX_INSTRUCTION])
        except MessageError:
            return  # of another make
        success = mark.get("success")
        self._episodes.mark(str(mark["event"]), success if isinstance(success, bool) else None)


def _expected(camera: str) -> str:
    return f"{camera} expected"


def _column(values: NDArray[np.float32] | None) -> list[float | None] | None:
    return None if values is None else [_plain(value) for value in values[:MOST_POINTS].tolist()]


def _plain(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def read_token(file: str) -> str:
    """Return the first line of `file`, or VLA_ROS_DASHBOARD_TOKEN, or nothing."""
    if not file:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        with Path(file).open(encoding="utf-8") as lines:
            token = lines.readline(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"token_file {file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not token:
        raise ConfigError(f"token_file {file} is empty; write the token into its first line")
    return token


async def _serve(node: DashboardNode, token: str, going: Callable[[], bool], show_token: bool) -> None:
    """Serve from this thread, which keeps its priority, as do those of STOP; pictures and state are made aside."""
    pool = ThreadPoolExecutor(thread_name_prefix="pictures", initializer=stand_back_here, initargs=(NICE,))
    asyncio.get_running_loop().set_default_executor(pool)
    await serve(node, node.parameters.host, node.parameters.port, token, going, show_token)


def main(show_token: bool = False) -> None:
    """Entry point. show_token: print the token as part of the address, if it was drawn for this run."""
    asked = signals_ask()
    try:
        start_ros(signal_handler_options=SignalHandlerOptions.NO)
        node = DashboardNode()
        token = read_token(node.parameters.token_file)
        with spinning(node, nice=NICE), node.line.open():
            asyncio.run(_serve(node, token, lambda: not asked and node.context.ok(), show_token))
    except VlaRosError as error:
        raise SystemExit(f"dashboard: error: {error}") from None
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
