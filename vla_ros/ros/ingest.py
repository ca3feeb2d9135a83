"""What is done with a message of the robot's topics. Needs no node: live nodes and bags take messages through this."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from vla_ros.core.errors import MessageError
from vla_ros.core.robot import CameraSpec, RobotSpec
from vla_ros.core.streams import Synchroniser
from vla_ros.core.text import shorten
from vla_ros.core.timing import RateMeter
from vla_ros.ros.convert import compressed_to_array, image_to_array, is_foreign, joint_state_to_array, to_ns

COMPRESSED = "/compressed"
JOINT_STATES, INSTRUCTION = "joint_states", "instruction"


@dataclass(frozen=True, slots=True)
class Source:
    """A topic that feeds an observation. name: the camera's, `JOINT_STATES` or `INSTRUCTION`."""

    name: str
    topic: str
    kind: Any
    camera: CameraSpec | None = None


class Ingest:
    """Checks messages, counts them and gives them to a synchroniser. `take` never raises: what is wrong is counted
    in `refused` and named in `last_error`. Joint states of other machines (`foreign` counts them) are not wrong.

    sources: the topics to listen to, of the cameras `cameras`, joint states and the instruction.
    """

    def __init__(self, robot: RobotSpec, synchroniser: Synchroniser, cameras: tuple[str, ...]) -> None:
        self._robot, self._synchroniser = robot, synchroniser
        self.sources = (
            *(_camera_source(robot.camera(name)) for name in cameras),
            Source(JOINT_STATES, robot.joint_states_topic, JointState),
            Source(INSTRUCTION, robot.instruction_topic, String),
        )
        self.meters = {name: RateMeter() for name in (*cameras, JOINT_STATES)}
        self.refused: Counter[str] = Counter()
        self.foreign = 0
        self.last_error = ""
        self.instruction_error = ""
        self.decode_ms = 0.0  # of the last image: from the message to the array

    def take(self, source: Source, message: Any, now_ns: int) -> bool:
        """Whether a message that came in at `now_ns` was accepted; old, doubled and wrong ones are not."""
        try:
            if source.name == INSTRUCTION:
                return self._sentence(message)
            taken = self._image(source.camera, message, now_ns) if source.camera else self._state(message, now_ns)
        except MessageError as error:
            self._refuse(source, str(error))
            return False
        if taken:
            self.meters[source.name].tick(now_ns)
        return taken

    def _image(self, camera: CameraSpec, message: Any, now_ns: int) -> bool:
        started_s = time.perf_counter()
        frame = compressed_to_array(message) if camera.compressed else image_to_array(message, camera.encoding)
        self.decode_ms = (time.perf_counter() - started_s) * 1e3
        return self._synchroniser.push_image(camera.name, to_ns(message.header.stamp), frame, now_ns)

    def _state(self, message: Any, now_ns: int) -> bool:
        if is_foreign(message, self._robot.joint_names):
            self.foreign += 1
            return False
        positions = joint_state_to_array(message, self._robot.joint_names)
        return self._synchroniser.push_state(to_ns(message.header.stamp), positions, now_ns)

    def _sentence(self, message: Any) -> bool:
        try:
            self._synchroniser.set_instruction(message.data)
        except MessageError as error:
            # The former sentence must not go on: its author believes that it was replaced.
            self._synchroniser.set_instruction("")
            self.instruction_error = str(error)
            raise
        self.instruction_error = ""
        return True

    def _refuse(self, source: Source, why: str) -> None:
        who = f"camera '{source.name}': " if source.camera else ""  # some checks say it themselves
        self.refused[source.name] += 1
        self.last_error = shorten(who + why.removeprefix(who))


def _camera_source(camera: CameraSpec) -> Source:
    if camera.compressed:
        return Source(camera.name, camera.topic + COMPRESSED, CompressedImage, camera)
    return Source(camera.name, camera.topic, Image, camera)
