"""From a file of config/training to the training that it describes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from vla_ros.core.config import load_yaml, parse
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.training.pretrained.config import VLALibraryTraining
from vla_ros.training.pretrained.train import train_vla_library
from vla_ros.training.uwm.autoencoder import train_autoencoder
from vla_ros.training.uwm.config import AutoencoderTraining, FrameReaderTraining, UWMTraining, check_moved
from vla_ros.training.uwm.frame_reader import train_frame_reader
from vla_ros.training.uwm.train import train_uwm
from vla_ros.training.vla.config import VLATraining
from vla_ros.training.vla.train import train_vla
from vla_ros.training.vlm.config import VLMTraining
from vla_ros.training.vlm.train import train_vlm

KINDS: dict[str, tuple[Any, Callable[[Any, bool], dict[str, float]]]] = {
    "autoencoder": (AutoencoderTraining, train_autoencoder),
    "frame_reader": (FrameReaderTraining, train_frame_reader),
    "uwm": (UWMTraining, train_uwm),
    "vla": (VLATraining, train_vla),
    "vla_library": (VLALibraryTraining, train_vla_library),
    "vlm": (VLMTraining, train_vlm),
}


def train(config: Path, resume: bool) -> dict[str, float]:
    """Run the training that a file of config/training describes; return its final figures."""
    return _read(config)(resume)


def _read(config: Path) -> Callable[[bool], dict[str, float]]:
    data = load_yaml(config)
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"{config}: kind is {kind!r}{did_you_mean(str(kind), KINDS)}")
    if kind == "uwm":
        check_moved(data, str(config))
    described, run = KINDS[kind]
    return partial(run, parse(data, described, str(config)))
