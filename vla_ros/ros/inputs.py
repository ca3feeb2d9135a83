"""The robot's topics on a host node: messages are checked, counted and given to a synchroniser."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from vla_ros.core.errors import MessageError
from vla_ros.core.robot import CameraSpec, RobotSpec
from vla_ros.core.streams import Synchroniser
from vla_ros.core.timing import RateMeter
from vla_ros.ros.convert import compressed_to_array, image_to_array, joint_state_to_array, to_ns
from vla_ros.ros.qos import LATCHED, SENSOR

COMPRESSED = "/compressed"


class Inputs:
    """Subscriptions of the cameras, joint states and instruction. Callbacks never raise: what is wrong is counted,
    named in `last_error`, and logged at most once in five seconds.

    on_image: called after each accepted image. on_instruction: called with each new sentence that was accepted.
    """

    def __init__(
        self, node: Node, robot: RobotSpec, synchroniser: Synchroniser, cameras: tuple[str, ...],
        on_image: Callable[[], None], on_instruction: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._node, self._robot, self._synchroniser = node, robot, synchroniser
        self._on_image, self._on_instruction = on_image, on_instruction
        self.meters = {name: RateMeter() for name in (*cameras, "joint_states")}
        self.refused: Counter[str] = Counter()
        self.last_error = ""
        self.instruction_error = ""
        self.decode_ms = 0.0  # of the last image: from the message to the array
        self._subscriptions = [self._camera(robot.camera(name)) for name in cameras]
        self._subscriptions += [
            node.create_subscription(JointState, robot.joint_states_topic, self._on_joint_state, SENSOR),
            node.create_subscription(String, robot.instruction_topic, self._on_sentence, LATCHED),
        ]

    def close(self) -> None:
        """Remove the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def figures(self, now_ns: int) -> dict[str, object]:
        """Rates, ages and refusals, for diagnostics."""
        found: dict[str, object] = {}
        for name, meter in self.meters.items():
            found[f"{name} rate_hz"], found[f"{name} age_s"] = meter.rate_hz(now_ns), meter.age_s(now_ns)
        return found | {f"{name} refused": count for name, count in self.refused.items()}

    def _camera(self, camera: CameraSpec) -> Any:
        kind, suffix = (CompressedImage, COMPRESSED) if camera.compressed else (Image, "")
        callback = partial(self._on_camera, camera)
        return self._node.create_subscription(kind, camera.topic + suffix, callback, SENSOR)

    def _on_camera(self, camera: CameraSpec, message: Any) -> None:
        now_ns, started_s = self._node.get_clock().now().nanoseconds, time.perf_counter()
        try:
            frame = compressed_to_array(message) if camera.compressed else image_to_array(message, camera.encoding)
            self.decode_ms = (time.perf_counter() - started_s) * 1e3
            taken = self._synchroniser.push_image(camera.name, to_ns(message.header.stamp), frame, now_ns)
        except MessageError as error:
            who = f"camera '{camera.name}': "  # some checks say it themselves
            self._refuse(camera.name, who + str(error).removeprefix(who))
            return
        if taken:
            self.meters[camera.name].tick(now_ns)
            self._on_image()

    def _on_joint_state(self, message: JointState) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        try:
            positions = joint_state_to_array(message, self._robot.joint_names)
            taken = self._synchroniser.push_state(to_ns(message.header.stamp), positions, now_ns)
        except MessageError as error:
            self._refuse("joint_states", str(error))
            return
        if taken:
            self.meters["joint_states"].tick(now_ns)

    def _on_sentence(self, message: String) -> None:
        try:
            self._synchroniser.set_instruction(message.data)
        except MessageError as error:
            # The former sentence must not go on: its author believes that it was replaced.
            self._synchroniser.set_instruction("")
            self._refuse("instruction", str(error))
            self.instruction_error = str(error)
            return
        self.instruction_error = ""
        self._on_instruction(self._synchroniser.instruction)

    def _refuse(self, what: str, why: str) -> None:
        self.refused[what] += 1
        self.last_error = why
        self._node.get_logger().warning(why, throttle_duration_sec=5.0)
