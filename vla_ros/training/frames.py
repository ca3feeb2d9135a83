"""Frames of an episode as tensors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.policies.backbones.tiny import pixels


def frames_of(data: Demonstrations, index: slice | NDArray[np.int64]) -> Tensor:
    """(..., V, 3, H, W) in [-1, 1]: what every camera shows."""
    return pixels(np.stack([images[index] for images in data.images.values()], axis=-4))
