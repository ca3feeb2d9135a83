"""Messages <-> numbers; pictures are in `images.py`. Needs no running node, so that bags and live topics share it.

Every function from a message raises MessageError where the message does not hold what its header promises.
"""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from numpy.typing import ArrayLike, NDArray
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_ros.core.errors import MessageError
from vla_ros.core.spacing import even
from vla_ros.core.text import listed
from vla_ros.core.types import NS_PER_S, ActionChunk
from vla_ros.ros.message_types import message_class

MAX_CHUNK_POINTS = 1000
# The message of each `type` that a robot's command block may name.
COMMAND_TYPES: dict[str, Any] = {kind.__name__: kind for kind in (Float64MultiArray, JointTrajectory, JointState)}


def to_ns(stamp: Time | Duration) -> int:
    """Return the nanoseconds of a stamp or duration."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def to_time(ns: int) -> Time:
    """Return nanoseconds as a stamp."""
    return Time(sec=ns // NS_PER_S, nanosec=ns % NS_PER_S)


def to_duration(ns: int) -> Duration:
    """Return nanoseconds as a duration."""
    return Duration(sec=ns // NS_PER_S, nanosec=ns % NS_PER_S)


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
