"""Messages <-> numbers. Needs message classes but no running node, so that bags and live topics share it.

Every function from a message raises MessageError where the message does not hold what its header promises.
"""

from __future__ import annotations

import array
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError
from PIL.ImageFile import ImageFile
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_ros.core.errors import MessageError
from vla_ros.core.spacing import even
from vla_ros.core.text import listed, name_of, shorten
from vla_ros.core.types import NS_PER_S, ActionChunk
from vla_ros.ros.message_types import message_class

MAX_PIXELS = 16_000_000
MAX_COMPRESSED_BYTES = 64_000_000
MAX_CHUNK_POINTS = 1000
# The message of each `type` that a robot's command block may name.
COMMAND_TYPES: dict[str, Any] = {kind.__name__: kind for kind in (Float64MultiArray, JointTrajectory, JointState)}
# encoding -> channels, and the order in which they make RGB
_RGB, _BGR, _GREY = (0, 1, 2), (2, 1, 0), (0, 0, 0)
ENCODINGS = {"rgb8": (3, _RGB), "bgr8": (3, _BGR), "rgba8": (4, _RGB), "bgra8": (4, _BGR)}
ENCODINGS |= {"mono8": (1, _GREY), "8UC1": (1, _GREY), "8UC3": (3, _BGR)}
# Pillow's modes that are 8-bit RGB in one way only; transparency is left out, as of rgba8.
EIGHT_BIT = ("RGB", "L", "RGBA", "LA", "P", "1")


def to_ns(stamp: Time | Duration) -> int:
    """Return the nanoseconds of a stamp or duration."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def to_time(ns: int) -> Time:
    """Return nanoseconds as a stamp."""
    return Time(sec=ns // NS_PER_S, nanosec=ns % NS_PER_S)


def to_duration(ns: int) -> Duration:
    """Return nanoseconds as a duration."""
    return Duration(sec=ns // NS_PER_S, nanosec=ns % NS_PER_S)


def image_to_array(message: Image, encoding: str | None = None) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB; a view if the message is rgb8. encoding: the only one to accept, if given."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    if message.encoding not in ENCODINGS:
        raise MessageError(f"image encoding '{name_of(message.encoding)}' is not known; known: {', '.join(ENCODINGS)}")
    if encoding is not None and message.encoding != encoding:
        raise MessageError(f"image encoding is '{message.encoding}'; the robot's contract says '{encoding}'")
    if not 0 < height * width <= MAX_PIXELS:
        raise MessageError(f"image must have 1 to {MAX_PIXELS} pixels, got {width}x{height}")
    channels, order = ENCODINGS[message.encoding]
    if step < width * channels:
        raise MessageError(f"image step is {step}; {width} pixels of {message.encoding} need {width * channels}")
    needed = step * (height - 1) + width * channels
    if len(message.data) < needed:
        raise MessageError(
            f"image data holds {len(message.data)} bytes; {width}x{height} at step {step} needs {needed}"
        )
    flat = np.frombuffer(message.data, dtype=np.uint8)
    rows = np.lib.stride_tricks.as_strided(flat, (height, width, channels), (step, channels, 1), writeable=False)
    return rows if order == (0, 1, 2) and channels == 3 else rows[..., list(order)]


def array_to_image(frame: NDArray[np.uint8], stamp_ns: int, frame_id: str = "") -> Image:
    """Turn (H, W, 3) RGB into an rgb8 image."""
    message = Image(height=frame.shape[0], width=frame.shape[1], encoding="rgb8", step=3 * frame.shape[1])
    message.header.stamp, message.header.frame_id = to_time(stamp_ns), frame_id
    data = array.array("B")  # any other type is checked byte by byte, a thousand times slower
    data.frombytes(np.ascontiguousarray(frame).tobytes())
    message.data = data
    return message


def compressed_to_array(message: CompressedImage) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB of a JPEG or PNG; the header's size and kind are checked before anything is decoded."""
    if len(message.data) > MAX_COMPRESSED_BYTES:
        raise MessageError(f"compressed image holds {len(message.data)} bytes, must be at most {MAX_COMPRESSED_BYTES}")
    data = bytes(message.data)
    try:
        picture = Pillow.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        if not 0 < picture.width * picture.height <= MAX_PIXELS:
            raise MessageError(
                f"compressed image is {picture.width}x{picture.height}, must be at most {MAX_PIXELS} pixels"
            )
        _refuse_depth(picture)
        return np.asarray(picture.convert("RGB"))
    except MessageError:
        raise
    except UnidentifiedImageError:  # whose own words show the address of an object of ours
        begin = data[:8].hex(" ") or "nothing"
        raise MessageError(
            f"compressed image cannot be decoded: it begins with {begin}, and is neither JPEG nor PNG or has a damaged "
            "header; send a whole JPEG or PNG"
        ) from None
    except Exception as error:  # Pillow's readers raise nearly anything on bytes that they did not foresee
        said = shorten(str(error) or type(error).__name__, 100)
        raise MessageError(f"compressed image cannot be decoded: {said}; send a whole JPEG or PNG") from None


def _refuse_depth(picture: ImageFile) -> None:
    """Refuse what Pillow would turn into 8-bit RGB by clipping, dropping bits or guessing: no camera image."""
    # The mode of the pixels as they are stored: of 16-bit colour, Pillow's own mode says RGB.
    stored = str(picture.tile[0].args if picture.format == "PNG" and picture.tile else picture.mode)
    if picture.mode not in EIGHT_BIT or ";16" in stored:
        wrong = stored if picture.mode in EIGHT_BIT else picture.mode
        raise MessageError(f"{picture.format} of mode {wrong}; publish 8-bit grey or colour ({', '.join(EIGHT_BIT)})")


def array_to_compressed(frame: NDArray[np.uint8], stamp_ns: int, quality: int = 90) -> CompressedImage:
    """Turn (H, W, 3) RGB into a JPEG."""
    buffer = io.BytesIO()
    Pillow.fromarray(frame).save(buffer, "JPEG", quality=quality)
    message = CompressedImage(format="rgb8; jpeg compressed bgr8")
    message.header.stamp = to_time(stamp_ns)
    data = array.array("B")
    data.frombytes(buffer.getvalue())
    message.data = data
    return message


def joint_state_to_array(message: JointState, names: Sequence[str]) -> NDArray[np.float64]:
    """Return (D,) positions in the order of `names`; others are ignored, missing or doubled ones refused."""
    if len(message.name) != len(message.position):
        raise MessageError(f"joint states name {len(message.name)} joints and hold {len(message.position)} positions")
    found = dict(zip(message.name, message.position, strict=True))
    if len(found) != len(message.name):
        raise MessageError("joint states name a joint twice")
    if missing := [name for name in names if name not in found]:
        raise MessageError(f"joint states lack {listed(missing)}; they hold {listed(message.name)}")
    return np.array([found[name] for name in names], dtype=np.float64)


def joints_named(message: JointState, names: Sequence[str]) -> tuple[str, ...]:
    """Return which of `names` the message names."""
    found = set(message.name)
    return tuple(name for name in names if name in found)


def is_foreign(message: JointState, names: Sequence[str]) -> bool:
    """Return whether it names joints, but none of `names`: another machine's, on a shared topic."""
    return bool(message.name) and not joints_named(message, names)


def array_to_joint_state(
    names: Sequence[str], positions: ArrayLike, stamp_ns: int, velocities: ArrayLike | None = None
) -> JointState:
    """Turn (D,) positions, and velocities if known, into a joint state."""
    message = JointState(name=list(names), position=_floats(positions))
    message.header.stamp = to_time(stamp_ns)
    if velocities is not None:
        message.velocity = _floats(velocities)
    return message


def chunk_to_trajectory(chunk: ActionChunk) -> JointTrajectory:
    """Return a chunk as a trajectory whose stamp is its observation's."""
    message = JointTrajectory(joint_names=list(chunk.names))
    message.header.stamp = to_time(chunk.stamp_ns)
    for action, due_ns in zip(chunk.actions, chunk.due_ns.tolist(), strict=True):
        point = JointTrajectoryPoint(positions=_floats(action))
        point.time_from_start = to_duration(due_ns - chunk.stamp_ns)
        message.points.append(point)
    return message


def trajectory_to_chunk(message: JointTrajectory) -> ActionChunk:
    """Turn a trajectory into a chunk: points even to within 1 ms, a position for every joint. Values are not judged."""
    names, points = tuple(message.joint_names), message.points
    if not 0 < len(points) <= MAX_CHUNK_POINTS:
        raise MessageError(f"the trajectory must have 1 to {MAX_CHUNK_POINTS} points, got {len(points)}")
    for number, point in enumerate(points):
        if len(point.positions) != len(names):
            raise MessageError(f"point {number} has {len(point.positions)} positions for {len(names)} joints")
    due = [to_ns(point.time_from_start) for point in points]
    spaced = even(due) if len(due) > 1 else (due[0], max(due[0], 1))
    if spaced is None:
        raise MessageError("time_from_start does not rise evenly: between points must be one fixed step, up to 1 ms")
    start_ns, step_ns = spaced
    stamp_ns = to_ns(message.header.stamp)
    if stamp_ns == 0 or due[0] < 0:
        raise MessageError("the trajectory has no stamp; stamp it with the time of the observation it answers")
    actions = np.array([point.positions for point in points], dtype=np.float32)
    return ActionChunk(stamp_ns, stamp_ns + start_ns, step_ns, actions, names)


def command_message(kind: str, names: Sequence[str], values: ArrayLike, stamp_ns: int, period_ns: int) -> Any:
    """Return (A,) positions, or for a Float64MultiArray velocities, as the message of the robot's contract."""
    if kind == "Float64MultiArray":
        return Float64MultiArray(data=_floats(values))
    if kind == "JointState":
        return array_to_joint_state(names, values, stamp_ns)
    point = JointTrajectoryPoint(positions=_floats(values))
    point.time_from_start = to_duration(period_ns)
    # Stamp zero: the controller starts at once, whatever its clock.
    return JointTrajectory(joint_names=list(names), points=[point])


def command_to_array(message: Any, names: Sequence[str]) -> NDArray[np.float64]:
    """Return (A,) positions of a command of any of the three kinds; of a trajectory, the last point."""
    if isinstance(message, Float64MultiArray):
        if len(message.data) != len(names):
            raise MessageError(f"the command must hold {len(names)} numbers, got {len(message.data)}")
        return np.array(message.data, dtype=np.float64)
    if isinstance(message, JointTrajectory):
        if not message.points:
            raise MessageError("the trajectory must have at least one point, got none")
        message = JointState(name=message.joint_names, position=message.points[-1].positions)
    return joint_state_to_array(message, names)


def _floats(values: ArrayLike) -> array.array[float]:
    """Return values as rclpy takes them unchecked; of a list it would check every number."""
    return array.array("d", np.asarray(values, dtype=np.float64).tobytes())


def deserialize(data: bytes, name: str) -> Any:
    """Return the message in CDR `data`; MessageError if it is not of that type."""
    kind = message_class(name)
    try:
        return deserialize_message(data, kind)
    except Exception as error:
        raise MessageError(f"{len(data)} bytes are no {name}: {error}") from error


def serialize(message: Any) -> bytes:
    """Return the CDR of a message."""
    return bytes(serialize_message(message))


def type_name(message: Any) -> str:
    """Return the type of a message, such as std_msgs/msg/String."""
    return f"{type(message).__module__.split('.')[0]}/msg/{type(message).__name__}"
