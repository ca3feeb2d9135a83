"""Image networks of a trained UWM in the place of a LLaVA's CLIP, frozen: they see every frame of the data once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.core.errors import ConfigError
from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.networks.vla.backbone import Backbone
from vla_ros.policies.loading import load_as
from vla_ros.policies.uwm import UWMPolicy
from vla_ros.training.cache import digest, once
from vla_ros.training.frames import frames_of
from vla_ros.training.loop import processes


def take_tower(backbone: Backbone, folder: Path, threads: int | None) -> None:
    """Its weights, for good; ConfigError where they do not fit `backbone.keypoints`."""
    trained, tower = load_as(folder, UWMPolicy, threads=threads).model, backbone.model.model.vision_tower
    try:
        tower.img_encoder.load_state_dict(trained.obs_encoder.img_encoder.state_dict())
    except (RuntimeError, AttributeError) as error:
        raise ConfigError(f"{folder}: its image networks are not those of backbone.keypoints: {error}") from None
    tower.requires_grad_(False)


def look_once(backbone: Backbone, data: Demonstrations, cache: Path) -> NDArray[np.float16]:
    """(N, V, F): what the tower sees in every frame, kept in `cache`."""

    def look(rows: slice) -> Tensor:
        images = frames_of(data, rows)  # (n, V, 3, H, W)
        return backbone.look(images.flatten(0, 1))[:, 0].unflatten(0, images.shape[:2])

    path = cache / f"visual_{digest(data, backbone.model.model.vision_tower)}.npy"
    with processes().main_process_first():  # the others then read what it has written
        return once(path, len(data.state), look, "seeing frames")
