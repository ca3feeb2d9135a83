"""What a config's `data` names: demonstrations of `vla-ros demos`, or a LeRobotDataset; the folder says which."""

from __future__ import annotations

from dataclasses import replace

from vla_ros.core.errors import ConfigError
from vla_ros.sim.tasks import TASKS, instruction_to_task, wordings
from vla_ros.training.config import AutoencoderTraining, FrameReaderTraining, UWMTraining
from vla_ros.training.dataset import Demonstrations, load_demonstrations


def load_data(config: AutoencoderTraining | FrameReaderTraining | UWMTraining) -> Demonstrations:
    """Read the training data into memory."""
    if (config.data / "meta/info.json").is_file():
        from vla_ros.training.lerobot import load_lerobot  # parquet and video are not needed for anything else

        horizon = config.network.action_len if isinstance(config, UWMTraining) else 1
        return load_lerobot(config.data, horizon, config.columns)
    if config.columns != type(config.columns)():
        raise ConfigError(f"columns: {config.data} is no LeRobotDataset (a folder with meta/info.json); leave it out")
    data = load_demonstrations(config.data)
    if isinstance(config, UWMTraining) and not config.relabelled:
        data = replace(data, plans=data.plans[:, :1], plan_task=data.plan_task[:, :1])
    return data


def sentences_of(task: str, held_out: bool = False) -> list[str]:
    """The wordings of a task of the tabletop, by its name or one of its sentences; any other sentence is its own."""
    known = TASKS.get(task) or instruction_to_task(task)
    return [task] if known is None else list(wordings(known, held_out=held_out))
