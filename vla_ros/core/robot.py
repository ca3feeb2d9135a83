"""The contract of a robot: its cameras, joints, limits and command output. One YAML file a robot."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.checks import positive, topic, unique
from vla_ros.core.config import read_yaml
from vla_ros.core.errors import ConfigError
from vla_ros.core.paths import find_config

CommandType = Literal["Float64MultiArray", "JointTrajectory", "JointState"]
JointKind = Literal["revolute", "prismatic", "gripper"]


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """One camera: the name that policies know it by, its topic, and what an image on it must be.

    compressed: subscribe to `<topic>/compressed` (sensor_msgs/CompressedImage) in place of the raw image.
    rate_hz: the rate to expect; diagnostics warn below it.
    """

    name: str
    topic: str
    width: int
    height: int
    encoding: Literal["rgb8", "bgr8", "rgba8", "bgra8", "mono8"] = "rgb8"
    compressed: bool = False
    rate_hz: float = 30.0

    def __post_init__(self) -> None:
        if not (0 < self.width <= 4096 and 0 < self.height <= 4096):
            raise ConfigError(f"camera size {self.width} x {self.height}; right would be 1 to 4096 pixels a side")
        positive("rate_hz", self.rate_hz)
        topic(self.topic)


@dataclass(frozen=True, slots=True)
class JointSpec:
    """One joint, in rad (revolute), m (prismatic) or its own unit (gripper), and per s, s^2, s^3 of it."""

    name: str
    lower: float
    upper: float
    max_velocity: float
    max_acceleration: float
    max_jerk: float
    kind: JointKind = "revolute"

    def __post_init__(self) -> None:
        if self.lower >= self.upper:
            raise ConfigError(f"lower {self.lower} is not below upper {self.upper}")
        for limit in ("max_velocity", "max_acceleration", "max_jerk"):
            positive(limit, getattr(self, limit))


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """Where commands go, as which message, and how often [Hz]."""

    topic: str
    type: CommandType
    rate_hz: float = 100.0

    def __post_init__(self) -> None:
        if not 1.0 <= self.rate_hz <= 1000.0:
            raise ConfigError(f"rate_hz is {self.rate_hz}; right would be 1 to 1000")
        topic(self.topic)


@dataclass(frozen=True, slots=True)
class SyncSpec:
    """How streams become one observation.

    tolerance_s: the widest spread of stamps within one observation, and of a frame from its place in the history [s].
    history, history_step_s: T frames, this far apart [s].
    max_age_s: an older newest stamp is stale [s].
    max_ahead_s: a stamp further in the future is refused [s].
    """

    tolerance_s: float = 0.05
    history: int = 1
    history_step_s: float = 0.1
    max_age_s: float = 0.5
    max_ahead_s: float = 0.1

    def __post_init__(self) -> None:
        for name in ("tolerance_s", "history_step_s", "max_age_s", "max_ahead_s"):
            positive(name, getattr(self, name))
        if not 1 <= self.history <= 64:
            raise ConfigError(f"history is {self.history}; right would be 1 to 64 frames")


@dataclass(frozen=True, slots=True)
class GuardSpec:
    """When motion stops. Times in s, distances in the joint's unit.

    plan_timeout_s: oldest observation that a moving plan may answer.
    joint_state_timeout_s: oldest joint states that motion may rely on.
    position_margin: commands keep this far inside the limits of arm joints.
    limit_tolerance: a plan further outside the limits than this is a fault; below it is clamped.
    max_jump: a plan that starts further from the measured position (arm joints) is a fault.
    gripper_hold: what a stop holds a gripper at; "commanded" keeps its grip on what it carries.
    """

    plan_timeout_s: float = 0.45
    joint_state_timeout_s: float = 0.1
    position_margin: float = 0.0
    limit_tolerance: float = 0.1
    max_jump: float = 0.5
    gripper_hold: Literal["measured", "commanded"] = "measured"

    def __post_init__(self) -> None:
        for name in ("plan_timeout_s", "joint_state_timeout_s", "max_jump"):
            positive(name, getattr(self, name))
        for name in ("position_margin", "limit_tolerance"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; right would be at least 0")


@dataclass(frozen=True, slots=True)
class RobotSpec:
    """Everything that a policy, the commander and the nodes know of a robot.

    joints: D of them; the order of states and actions everywhere inside.
    command: where the joints' positions go; gripper_command, where given, takes the joints of kind gripper.
    """

    name: str
    cameras: tuple[CameraSpec, ...]
    joints: tuple[JointSpec, ...]
    command: CommandSpec
    gripper_command: CommandSpec | None = None
    joint_states_topic: str = "/joint_states"
    instruction_topic: str = "/instruction"
    sync: SyncSpec = field(default_factory=SyncSpec)
    guard: GuardSpec = field(default_factory=GuardSpec)

    def __post_init__(self) -> None:
        unique("cameras", [camera.name for camera in self.cameras])
        unique("joints", [joint.name for joint in self.joints])
        topic(self.joint_states_topic)
        topic(self.instruction_topic)
        if self.gripper_command and not any(joint.kind == "gripper" for joint in self.joints):
            raise ConfigError("gripper_command is given, but no joint has kind: gripper")
        for joint in self.joints:
            if joint.kind != "gripper" and 2 * self.guard.position_margin >= joint.upper - joint.lower:
                raise ConfigError(f"guard.position_margin leaves no room between the limits of '{joint.name}'")

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The D joint names, in the order of the columns."""
        return tuple(joint.name for joint in self.joints)

    @property
    def camera_names(self) -> tuple[str, ...]:
        """The camera names, in the order of the file."""
        return tuple(camera.name for camera in self.cameras)

    @property
    def outputs(self) -> tuple[tuple[CommandSpec, tuple[int, ...]], ...]:
        """Each command output with the columns (indices of joints) that it carries."""
        columns = range(len(self.joints))
        if self.gripper_command is None:
            return ((self.command, tuple(columns)),)
        gripper = tuple(i for i in columns if self.joints[i].kind == "gripper")
        return (self.command, tuple(i for i in columns if i not in gripper)), (self.gripper_command, gripper)

    def camera(self, name: str) -> CameraSpec:
        """The camera called `name`."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise ConfigError(f"robot '{self.name}' has no camera '{name}'; it has {', '.join(self.camera_names)}")

    def limits(
        self, quantity: Literal["lower", "upper", "max_velocity", "max_acceleration", "max_jerk"]
    ) -> NDArray[np.float64]:
        """(D,) float64: one limit of every joint."""
        return np.array([getattr(joint, quantity) for joint in self.joints], dtype=np.float64)

    @property
    def is_gripper(self) -> NDArray[np.bool_]:
        """(D,) bool: which columns are grippers."""
        return np.array([joint.kind == "gripper" for joint in self.joints], dtype=np.bool_)


def load_robot(name: Path | str) -> RobotSpec:
    """A robot by the path of its YAML, or by its name in `config/robots`."""
    return read_yaml(find_config(name, "config/robots"), RobotSpec)
