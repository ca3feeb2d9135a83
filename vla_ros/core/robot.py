"""The contract of a robot: its cameras, joints, limits and command output. One YAML file a robot."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.checks import topic, unique
from vla_ros.core.config import read_yaml
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.kinematics.chain import WorkspaceSpec
from vla_ros.core.paths import find_config
from vla_ros.core.robot_parts import (
    CameraSpec,
    CommandSpec,
    CommandType,
    GripperSpec,
    GuardSpec,
    JointKind,
    JointSpec,
    SyncSpec,
)

__all__ = [
    "CameraSpec",
    "CommandSpec",
    "CommandType",
    "GripperSpec",
    "GuardSpec",
    "JointKind",
    "JointSpec",
    "RobotSpec",
    "SyncSpec",
    "WorkspaceSpec",
    "load_robot",
]


@dataclass(frozen=True, slots=True)
class RobotSpec:
    """Everything that a policy, the commander and the nodes know of a robot.

    joints: D of them; the order of states and actions everywhere inside.
    command: where the joints' commands go; gripper_command, where given, takes the joints of kind gripper.
    several_joint_state_publishers: arm although two publishers name the same joint on joint_states_topic. Without it
        that refuses arming, as one of them may be wrong.
    workspace: where the tool may be; anywhere without it.
    """

    name: str
    cameras: tuple[CameraSpec, ...]
    joints: tuple[JointSpec, ...]
    command: CommandSpec
    gripper_command: CommandSpec | None = None
    joint_states_topic: str = "/joint_states"
    instruction_topic: str = "/instruction"
    several_joint_state_publishers: bool = False
    sync: SyncSpec = field(default_factory=SyncSpec)
    guard: GuardSpec = field(default_factory=GuardSpec)
    workspace: WorkspaceSpec | None = None

    def __post_init__(self) -> None:
        unique("cameras", [camera.name for camera in self.cameras])
        unique("joints", [joint.name for joint in self.joints])
        topic(self.joint_states_topic)
        topic(self.instruction_topic)
        if self.gripper_command and not any(joint.kind == "gripper" for joint in self.joints):
            raise ConfigError("gripper_command is given, but no joint has kind: gripper")
        if self.gripper_command and self.gripper_command.topic.lstrip("/") == self.command.topic.lstrip("/"):
            raise ConfigError(
                f"gripper_command.topic must differ from command.topic, got {self.command.topic} twice; "
                "leave gripper_command out to send all joints in one message"
            )
        for joint in self.joints:
            if joint.kind != "gripper" and 2 * self.guard.position_margin >= joint.upper - joint.lower:
                raise ConfigError(f"guard.position_margin leaves no room between the limits of '{joint.name}'")
        for link in self.workspace.chain if self.workspace else ():
            self._check_link(link.joint)

    def _check_link(self, name: str) -> None:
        kinds = {joint.name: joint.kind for joint in self.joints}
        if name not in kinds:
            raise ConfigError(f"workspace.chain: there is no joint '{name}'{did_you_mean(name, kinds)}")
        if kinds[name] not in ("revolute", "continuous"):
            raise ConfigError(f"workspace.chain: '{name}' must be revolute or continuous, but is {kinds[name]}")

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
        """Return the camera called `name`."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise ConfigError(f"robot '{self.name}' has no camera '{name}'; it has {', '.join(self.camera_names)}")

    def limits(
        self, quantity: Literal["lower", "upper", "max_velocity", "max_acceleration", "max_jerk"]
    ) -> NDArray[np.float64]:
        """Return (D,) float64: one limit of every joint."""
        return np.array([getattr(joint, quantity) for joint in self.joints], dtype=np.float64)

    @property
    def is_gripper(self) -> NDArray[np.bool_]:
        """(D,) bool: which columns are grippers."""
        return np.array([joint.kind == "gripper" for joint in self.joints], dtype=np.bool_)


def load_robot(name: Path | str) -> RobotSpec:
    """Load a robot by the path of its YAML, or by its name in `config/robots`."""
    return read_yaml(find_config(name, "config/robots"), RobotSpec)
