"""Look at a robot's topics for a few seconds, for `vla-ros robot`: cameras, joint states, controllers, URDF."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from vla_ros.core.description.graph import CameraSeen, CommandsSeen, Graph, StatesSeen
from vla_ros.core.errors import MessageError, VlaRosError
from vla_ros.ros.convert import COMMAND_TYPES, to_ns
from vla_ros.ros.images import compressed_to_array, image_to_array
from vla_ros.ros.ingest import COMPRESSED
from vla_ros.ros.process.starting import start_ros
from vla_ros.ros.qos import CROWD, LATCHED, quietly

POLL_S = 0.2
TYPES = {f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "JointState")}
TYPES |= {"std_msgs/msg/Float64MultiArray", "trajectory_msgs/msg/JointTrajectory"}
MOST = 32  # topics of one kind: anybody may publish any number
JOINTS_MOST = 256
SETTLE_S = 3.5  # to meet the others, who announce themselves every 3 s, before rates are counted


@dataclass
class Heard:
    """What came on one topic, counted since the others were met."""

    count: int = 0
    newest: Any = None
    names: dict[str, float] = field(default_factory=dict)
    stamped: bool = True


class LookAround(Node):
    """Subscribes to every camera and every topic of joint states that it finds."""

    def __init__(self) -> None:
        super().__init__("vla_ros_robot")
        self._heard: dict[str, dict[str, Heard]] = {"Image": {}, "CompressedImage": {}, "JointState": {}}
        self._commands: dict[str, str] = {}
        self._description = ""
        self.create_subscription(String, "robot_description", self._on_description, LATCHED, event_callbacks=quietly())

    def look(self, seconds: float) -> Graph:
        """Listen for `seconds`, and return what was seen."""
        self._spin(SETTLE_S)
        for topics in self._heard.values():
            for heard in topics.values():
                heard.count = 0
        started_s = time.monotonic()
        self._spin(seconds)
        return self._graph(time.monotonic() - started_s)

    def _spin(self, seconds: float) -> None:
        end_s, next_s = time.monotonic() + seconds, 0.0
        while (now_s := time.monotonic()) < end_s and rclpy.ok():
            if now_s > next_s:
                next_s = now_s + POLL_S
                self._find()
            rclpy.spin_once(self, timeout_sec=0.05)

    def _find(self) -> None:
        for topic, types in self.get_topic_names_and_types():
            kind = types[0].rpartition("/")[2] if len(types) == 1 and types[0] in TYPES else ""
            if kind in COMMAND_TYPES and len(self._commands) < MOST:
                self._commands[topic] = kind
            hear = {"Image": Image, "CompressedImage": CompressedImage, "JointState": JointState}.get(kind)
            if kind == "CompressedImage" and not topic.endswith(COMPRESSED):
                continue
            if hear is None or not self.count_publishers(topic) or topic in self._heard[kind]:
                continue
            if len(self._heard[kind]) < MOST:
                heard = self._heard[kind][topic] = Heard()
                callback: Callable[[Heard, Any], None] = self._on_states if kind == "JointState" else self._on_picture
                self.create_subscription(hear, topic, partial(callback, heard), CROWD, event_callbacks=quietly())

    def _on_picture(self, heard: Heard, message: Image | CompressedImage) -> None:
        heard.count, heard.newest = heard.count + 1, message

    def _on_states(self, heard: Heard, message: JointState) -> None:
        heard.count += 1
        heard.stamped = heard.stamped and bool(to_ns(message.header.stamp))
        for name, position in zip(message.name, message.position, strict=False):
            if name in heard.names or len(heard.names) < JOINTS_MOST:
                heard.names[name] = position

    def _on_description(self, message: String) -> None:
        self._description = message.data

    def _graph(self, seconds: float) -> Graph:
        pictures = [
            (t, h, kind != "Image") for kind in ("Image", "CompressedImage") for t, h in self._heard[kind].items()
        ]
        return Graph(
            cameras=tuple(
                self._camera(topic, heard, packed, seconds) for topic, heard, packed in sorted(pictures, key=_first)
            ),
            states=tuple(
                self._states(topic, heard, seconds) for topic, heard in sorted(self._heard["JointState"].items())
            ),
            commands=tuple(map(self._command, *zip(*sorted(self._commands.items()), strict=True)))
            if self._commands
            else (),
            description=self._description,
            seconds=round(seconds, 1),
        )

    def _camera(self, topic: str, heard: Heard, packed: bool, seconds: float) -> CameraSeen:
        rate_hz = heard.count / seconds
        if heard.newest is None:
            return CameraSeen(topic, compressed=packed)
        try:
            height, width = _picture(heard.newest).shape[:2]
        except MessageError as error:
            return CameraSeen(topic, compressed=packed, refused=str(error))
        return CameraSeen(topic, "" if packed else heard.newest.encoding, width, height, rate_hz, packed)

    def _states(self, topic: str, heard: Heard, seconds: float) -> StatesSeen:
        names, positions = tuple(heard.names), tuple(heard.names.values())
        return StatesSeen(topic, names, positions, heard.count / seconds, self.count_publishers(topic), heard.stamped)

    def _command(self, topic: str, kind: str) -> CommandsSeen:
        own = topic in self._heard["JointState"]
        return CommandsSeen(topic, kind, self.count_subscribers(topic) - own, self.count_publishers(topic))


def _picture(message: Image | CompressedImage) -> NDArray[np.uint8]:
    return image_to_array(message) if isinstance(message, Image) else compressed_to_array(message)


def _first(entry: tuple[str, Heard, bool]) -> str:
    return entry[0]


def look_around(seconds: float, namespace: str = "") -> Graph:
    """Look at the running graph for `seconds`. Raises VlaRosError if ROS does not start or is interrupted."""
    args = ["--ros-args", "-r", f"__ns:=/{namespace.strip('/')}"] if namespace.strip("/") else []
    start_ros(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = LookAround()
        try:
            return node.look(seconds)
        finally:
            node.destroy_node()
    except RuntimeError as error:
        raise VlaRosError(f"the graph cannot be read: {error}") from None
    finally:
        rclpy.try_shutdown()
