"""What a trained model expects of a robot, and the check that a robot offers it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.checks import within
from vla_ros.core.columns import are_grippers
from vla_ros.core.errors import ConfigError, ContractError
from vla_ros.core.robot import RobotSpec
from vla_ros.core.robot_parts import FitKind, JointKind
from vla_ros.core.types import NS_PER_S, Observation


@dataclass(frozen=True, slots=True)
class CameraContract:
    """A camera that the model was trained with, by name and size in pixels.

    fit: how pictures of another size were brought to it in training, and are again (see `core.streams.image_fit`).
    """

    name: str
    width: int
    height: int
    fit: FitKind = "stretch"

    def __post_init__(self) -> None:
        within(self, width=(1, 8192), height=(1, 8192))


@dataclass(frozen=True, slots=True)
class PolicyContract:
    """Cameras, joints and time base of a trained model.

    joints: the columns of states and actions, in this order.
    kinds: what each of them is; empty in folders that were written before it was kept.
    state: the columns of states where they are others than those of actions; empty where they are the joints.
    history: T, the frames an observation must hold.
    horizon: H, the actions of a chunk; step_s: time between them [s].
    execute_steps: how many actions to execute before the next chunk is wanted.
    """

    cameras: tuple[CameraContract, ...]
    joints: tuple[str, ...]
    step_s: float
    horizon: int
    execute_steps: int
    history: int = 1
    kinds: tuple[JointKind, ...] = ()
    state: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        within(self, step_s=(0.001, 60), horizon=(1, 1024), execute_steps=(1, self.horizon), history=(1, 64))
        for name, most in (("cameras", 16), ("joints", 256)):
            count = len(getattr(self, name))
            if not 1 <= count <= most:
                raise ConfigError(f"{name} must have 1 to {most} entries, got {count}")
        for what, names in (("cameras", [camera.name for camera in self.cameras]), ("joints", list(self.joints))):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ConfigError(f"{what} must have names of their own, got '{twice[0]}' twice")
        if self.kinds and len(self.kinds) != len(self.joints):
            raise ConfigError(f"kinds must name the kind of each of {len(self.joints)} joints, got {len(self.kinds)}")

    @property
    def step_ns(self) -> int:
        """Time between two actions [ns]."""
        return round(self.step_s * NS_PER_S)

    @property
    def state_names(self) -> tuple[str, ...]:
        """The columns of states."""
        return self.state or self.joints

    @property
    def is_gripper(self) -> NDArray[np.bool_] | None:
        """(A,) which joints are grippers; None where the folder does not say."""
        return are_grippers(self.kinds) if self.kinds else None


def check_contract(contract: PolicyContract, robot: RobotSpec) -> None:
    """Raise ContractError where the robot does not offer what the model was trained with. Cameras may have any size."""
    offered = {camera.name: camera for camera in robot.cameras}
    for camera in contract.cameras:
        if camera.name not in offered:
            raise ContractError(
                f"the model wants a camera '{camera.name}', robot '{robot.name}' has {', '.join(sorted(offered))}"
            )
    joints = tuple(joint.name for joint in robot.joints)
    if joints != contract.joints:
        raise ContractError(
            f"the model moves the joints {', '.join(contract.joints)}; "
            f"robot '{robot.name}' has {', '.join(joints)} (names and order must be equal)"
        )
    if contract.state_names != joints:
        raise ContractError(
            f"the model reads states of {', '.join(contract.state)}; robot '{robot.name}' has {', '.join(joints)}"
        )
    _check_kinds(contract, robot)


def _check_kinds(contract: PolicyContract, robot: RobotSpec) -> None:
    """Compare which columns are grippers: their targets are absolute, those of other joints are not."""
    for joint, kind in zip(robot.joints, contract.kinds, strict=False):  # an older folder has none
        if (joint.kind == "gripper") != (kind == "gripper"):
            raise ContractError(
                f"joint '{joint.name}': kind is {kind} for the model, {joint.kind} for robot '{robot.name}'"
            )


def check_observation(contract: PolicyContract, observation: Observation) -> None:
    """Raise ContractError where an observation does not hold what the model was trained with."""
    for camera in contract.cameras:
        if camera.name not in observation.images:
            raise ContractError(f"the observation lacks the camera '{camera.name}'")
        shape = observation.images[camera.name].shape
        if shape[0] < contract.history or shape[1:] != (camera.height, camera.width, 3):
            raise ContractError(
                f"camera '{camera.name}': frames must have shape "
                f"({contract.history}, {camera.height}, {camera.width}, 3), got {shape}"
            )
    wanted = len(contract.state_names)
    if observation.state.shape[1] != wanted:
        raise ContractError(
            f"the observation's state has {observation.state.shape[1]} joints, the model wants {wanted}"
        )
