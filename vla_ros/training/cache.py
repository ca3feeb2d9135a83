"""Features that are computed once and kept, by the data and the weights they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn

from vla_ros.datasets.demonstrations import Demonstrations


def once(path: Path, count: int, parts: Callable[[slice], Tensor], what: str) -> NDArray[np.float16]:
    """The rows that `parts` computes for `count` frames, 256 at a time, kept in the file `path`."""
    if path.is_file():
        kept: NDArray[np.float16] = np.load(path)
        return kept
    with torch.no_grad():
        starts = track(range(0, count, 256), description=what)
        rows = np.concatenate([parts(slice(start, start + 256)).half().numpy() for start in starts])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, rows)
    return rows


def digest(data: Demonstrations, network: nn.Module) -> str:
    """A name for what `network` makes of `data`."""
    found = hashlib.sha256(repr((len(data.state), data.meta)).encode())
    for weights in network.state_dict().values():
        found.update(weights.numpy().tobytes())
    return found.hexdigest()[:12]
