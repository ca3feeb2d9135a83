"""From a file of config/training to the training that it describes."""

from __future__ import annotations

from pathlib import Path

from vla_ros.core.config import load_yaml, parse
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.training.config import AutoencoderTraining, FrameReaderTraining, UWMTraining
from vla_ros.training.pretrained.config import VLALibraryTraining
from vla_ros.training.pretrained.train import train_vla_library
from vla_ros.training.uwm.autoencoder import train_autoencoder
from vla_ros.training.uwm.frame_reader import train_frame_reader
from vla_ros.training.uwm.train import train_uwm
from vla_ros.training.vla.config import VLATraining
from vla_ros.training.vla.train import train_vla
from vla_ros.training.vlm.config import VLMTraining
from vla_ros.training.vlm.train import train_vlm

KINDS = ("autoencoder", "frame_reader", "uwm", "vla", "vla_library", "vlm")


def train(config: Path, resume: bool) -> dict[str, float]:
    """Run a training; returns its final figures."""
    data = load_yaml(config)
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind == "autoencoder":
        return train_autoencoder(parse(data, AutoencoderTraining, str(config)), resume)
    if kind == "frame_reader":
        return train_frame_reader(parse(data, FrameReaderTraining, str(config)), resume)
    if kind == "uwm":
        return train_uwm(parse(data, UWMTraining, str(config)), resume)
    if kind == "vla":
        return train_vla(parse(data, VLATraining, str(config)), resume)
    if kind == "vla_library":
        return train_vla_library(parse(data, VLALibraryTraining, str(config)), resume)
    if kind == "vlm":
        return train_vlm(parse(data, VLMTraining, str(config)), resume)
    raise ConfigError(f"{config}: kind is {kind!r}{did_you_mean(str(kind), KINDS)}")
