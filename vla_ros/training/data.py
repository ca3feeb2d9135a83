"""What a config's `data` names: demonstrations of `vla-ros demos`, or a LeRobotDataset; the folder says which."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from vla_ros.core.errors import ConfigError
from vla_ros.datasets.demonstrations import Demonstrations, load_demonstrations, told_grippers
from vla_ros.datasets.lerobot.columns import Columns


class Learns(Protocol):
    """The part of a training's config that says what to learn from."""

    @property
    def data(self) -> Path:
        """A folder of `vla-ros demos`, or a LeRobotDataset."""

    @property
    def columns(self) -> Columns:
        """Which of its columns are ours."""


def load_data(config: Learns, horizon: int | None = None, relabelled: bool = True) -> Demonstrations:
    """Read the training data into memory. ConfigError says what is missing, or not what it should be.

    horizon: steps of the plans; None for all that demonstrations have, and one step of a LeRobotDataset.
    relabelled: keep the plans for other tasks that `vla-ros demos` gives each frame.
    """
    data = _read(config.data, config.columns, horizon or 1)
    if config.columns.grippers is not None:
        data = told_grippers(data, config.columns.grippers)
    if horizon is not None:
        data = _shortened(config.data, data, horizon)
    return data if relabelled else replace(data, plans=data.plans[:, :1], plan_task=data.plan_task[:, :1])


def _read(folder: Path, columns: Columns, horizon: int) -> Demonstrations:
    if (folder / "meta").is_dir():
        from vla_ros.datasets.lerobot.reader import load_lerobot  # parquet and video are not needed for anything else

        return load_lerobot(folder, horizon, columns)
    if replace(columns, grippers=None) != Columns():
        raise ConfigError(f"columns: {folder} is no LeRobotDataset (a folder with meta/info.json); leave it out")
    return load_demonstrations(folder)


def _shortened(folder: Path, data: Demonstrations, horizon: int) -> Demonstrations:
    """The same with plans of `horizon` steps."""
    if data.plans.shape[2] < horizon:
        raise ConfigError(f"{folder}: its plans have {data.plans.shape[2]} steps, the training wants {horizon}")
    return replace(data, plans=data.plans[:, :, :horizon])
