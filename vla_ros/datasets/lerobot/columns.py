"""Which columns of a LeRobot dataset are used for training, and as what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vla_ros.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Columns:
    """Maps the columns of a LeRobotDataset; only needed for datasets from other tools.

    grippers: names of the gripper columns, whose targets are absolute; [] for none. Only needed if the data do not say
    it; exports of `vla-ros export` and new folders of `vla-ros demos` do.
    cameras: our name -> the dataset's key; by default what follows `observation.images.`.
    joints: names of the columns of state and action, as in the robot's contract; by default the dataset's. If state and
    action differ in width, they name the action columns.
    size: side length that pictures are scaled to [px]; 0 keeps them.
    """

    cameras: Mapping[str, str] = field(default_factory=dict)
    state: str = "observation.state"
    action: str = "action"
    joints: tuple[str, ...] = ()
    size: int = 0
    grippers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.size <= 4096:
            raise ConfigError(f"size must be 0 to 4096 pixels, got {self.size}")
