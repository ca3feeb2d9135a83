"""What the columns of states and actions are. It travels from the robot's contract to datasets and model folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.errors import ConfigError
from vla_ros.core.robot import RobotSpec
from vla_ros.core.robot_parts import JointKind


@dataclass(frozen=True, slots=True)
class Column:
    """One joint's column. stroke: the two ends of a gripper, lower first, in its own unit; other joints have none."""

    name: str
    kind: JointKind
    stroke: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.stroke is None:
            return
        if self.kind != "gripper":
            raise ConfigError(f"'{self.name}' has a stroke, but kind is {self.kind}; only grippers have one")
        if not self.stroke[0] < self.stroke[1]:
            raise ConfigError(f"stroke of '{self.name}' must rise, got {self.stroke[0]} to {self.stroke[1]}")


def columns_of(robot: RobotSpec) -> tuple[Column, ...]:
    """Return the D columns of a robot's states and actions, as its contract has them."""
    return tuple(
        Column(joint.name, joint.kind, (joint.lower, joint.upper) if joint.kind == "gripper" else None)
        for joint in robot.joints
    )


def are_grippers(kinds: Sequence[JointKind]) -> NDArray[np.bool_]:
    """Return (D,) bool: which columns are grippers, whose targets are absolute; other joints' are differences."""
    return np.array([kind == "gripper" for kind in kinds], dtype=np.bool_)
