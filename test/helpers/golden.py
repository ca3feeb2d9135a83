"""The golden tensors of official code: weights by the rule of golden/README.md, and where to find the folders."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import torch

SHARED = Path(__file__).parents[3] / "shared" / "golden"


def golden_folder(variable: str, name: str) -> Path:
    """The folder that an environment variable names, or the one that lies beside the checkout."""
    return Path(os.environ.get(variable, SHARED / name))


def ruled_weight(key: str, shape: list[int]) -> torch.Tensor:
    """The weight that golden/README.md prescribes for a name and shape."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    values = (rng.random(int(np.prod(shape))) * 2 - 1) * np.sqrt(3)
    if len(shape) > 1:
        values /= np.sqrt(max(1, values.size // shape[0]))
    else:
        values *= 0.1
        if key.endswith("weight"):
            values += 1
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    """Whether the shapes are equal and the largest difference is below `tolerance` of the largest number."""
    same = actual.shape == expected.shape
    return same and bool((actual - expected).abs().max() <= tolerance * expected.abs().max())
