"""What is done with a message of the robot's topics. Needs no node: live nodes and bags take messages through this."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from vla_ros.core.errors import MessageError
from vla_ros.core.robot import CameraSpec, RobotSpec
from vla_ros.core.streams.synchroniser import NOTHING, Synchroniser
from vla_ros.core.text import listed, shorten
from vla_ros.core.timing import RateMeter
from vla_ros.ros.convert import is_foreign, joint_state_to_array, to_ns
from vla_ros.ros.images import compressed_to_array, image_to_array

COMPRESSED = "/compressed"
JOINT_STATES, INSTRUCTION = "joint_states", "instruction"
MANY = 3  # refusals in a row that are no accident


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

    Where nothing of a stream is taken because all of it is refused, `explained` says so in place of "nothing received".

    sources: the topics to listen to, of the cameras `cameras`, joint states and the instruction.
    """

    def __init__(self, robot: RobotSpec, synchroniser: Synchroniser, cameras: tuple[str, ...]) -> None:
        self._robot, self._synchroniser = robot, synchroniser
        self.sources = (
            *(camera_source(robot.camera(name)) for name in cameras),
            Source(JOINT_STATES, robot.joint_states_topic, JointState),
            Source(INSTRUCTION, robot.instruction_topic, String),
        )
        self.meters = {name: RateMeter() for name in (*cameras, JOINT_STATES)}
        self.refused: Counter[str] = Counter()
        self.foreign, self._foreign_names = 0, ""
        self._in_a_row: dict[str, tuple[int, str]] = {}  # refusals since a source's last good message; the last reason
        self.last_error = ""
        self.instruction_error = ""
        self.decode_ms = 0.0  # of the last image: decoded, and brought to the model's size

    def take(self, source: Source, message: Any, now_ns: int) -> bool:
        """Return whether a message that came in at `now_ns` told something new; old, doubled and wrong ones do not."""
        try:
            if source.name == INSTRUCTION:
                return self._sentence(message)
            taken = self._image(source.camera, message, now_ns) if source.camera else self._state(message, now_ns)
        except MessageError as error:
            self._refuse(source, str(error))
            return False
        if taken:
            self.meters[source.name].tick(now_ns)
            self._in_a_row.pop(source.name, None)
        return taken

    def explained(self, reason: str) -> str:
        """Return why nothing is observed: `reason`, as a synchroniser says it, or what is refused of that stream."""
        if reason == f"{_told(JOINT_STATES)}: {NOTHING}" and self.foreign and JOINT_STATES not in self._in_a_row:
            return f"joint states: none of this robot's yet; {self.foreign} are of {self._foreign_names}"
        stream = next((name for name in self._in_a_row if reason.startswith(f"{_told(name)}: ")), None)
        return reason if stream is None else self._refusals(stream)

    @property
    def trouble(self) -> str:
        """The first camera, or the joint states, of which nothing is taken any more; empty where there is none."""
        refused = [name for name, (count, _) in self._in_a_row.items() if count >= MANY]
        return self._refusals(refused[0]) if refused else ""

    def _refusals(self, stream: str) -> str:
        count, why = self._in_a_row[stream]
        return f"{_told(stream)}: {count} refused in a row, the last: {why.removeprefix(_told(stream)).lstrip(': ')}"

    def _image(self, camera: CameraSpec, message: Any, now_ns: int) -> bool:
        started_s = time.perf_counter()
        taken = self._synchroniser.push_image(
            camera.name, to_ns(message.header.stamp), picture(camera, message), now_ns
        )
        self.decode_ms = (time.perf_counter() - started_s) * 1e3
        return taken

    def _state(self, message: Any, now_ns: int) -> bool:
        if is_foreign(message, self._robot.joint_names):
            self.foreign, self._foreign_names = self.foreign + 1, listed(message.name)
            return False
        positions = joint_state_to_array(message, self._robot.joint_names)
        return self._synchroniser.push_state(to_ns(message.header.stamp), positions, now_ns)

    def _sentence(self, message: Any) -> bool:
        try:
            changed = self._synchroniser.set_instruction(message.data)
        except MessageError as error:
            # The former sentence must not go on: its author believes that it was replaced.
            self._synchroniser.set_instruction("")
            self.instruction_error = str(error)
            raise
        self.instruction_error = ""
        return changed  # the same sentence, published again and again, changes nothing

    def _refuse(self, source: Source, why: str) -> None:
        who = f"camera '{source.name}': " if source.camera else ""  # some checks say it themselves
        self.refused[source.name] += 1
        self.last_error = shorten(who + why.removeprefix(who))
        if source.name != INSTRUCTION:
            self._in_a_row[source.name] = self._in_a_row.get(source.name, (0, ""))[0] + 1, self.last_error


def _told(source: str) -> str:
    """Return a source as a synchroniser names it."""
    return "joint states" if source == JOINT_STATES else f"camera '{source}'"


def picture(camera: CameraSpec, message: Any) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB of a camera's message, as it arrived. MessageError for what is no picture."""
    if camera.compressed:
        return compressed_to_array(message)
    return image_to_array(message, None if camera.encoding == "any" else camera.encoding)


def camera_source(camera: CameraSpec) -> Source:
    """Return the topic that a camera's pictures come on."""
    if camera.compressed:
        return Source(camera.name, camera.topic + COMPRESSED, CompressedImage, camera)
    return Source(camera.name, camera.topic, Image, camera)
