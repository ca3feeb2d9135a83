"""Demonstrations on disk as arrays in memory, and which frames may serve which purpose."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.errors import ConfigError

ARRAYS = ("state", "executed", "plans", "plan_task", "aux", "episode", "frame", "task")


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """N frames of many episodes, in order; see `training/demonstrations.py` for how they were made.

    images: camera -> (N, H, W, 3) uint8. state, executed: (N, D). plans: (N, K, H, D), the expert's plans for the
    tasks `plan_task` (N, K), the episode's own first. aux: (N, P) privileged positions. episode, frame, task: (N,).
    """

    images: dict[str, NDArray[np.uint8]]
    state: NDArray[np.float32]
    executed: NDArray[np.float32]
    plans: NDArray[np.float32]
    plan_task: NDArray[np.integer[Any]]
    aux: NDArray[np.float32]
    episode: NDArray[np.integer[Any]]
    frame: NDArray[np.integer[Any]]
    task: NDArray[np.integer[Any]]
    meta: dict[str, Any]

    def windows(self, steps: int) -> NDArray[np.int64]:
        """Frames that have `steps` more frames of their own episode behind them."""
        index = np.arange(len(self.episode) - steps)
        return index[self.episode[index] == self.episode[index + steps]]

    def split(self, share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Masks (N,) of training and validation frames; the last `share` of the episodes validates."""
        episodes = np.unique(self.episode)
        held_out = set(episodes[len(episodes) - max(1, round(share * len(episodes))) :].tolist())
        validation = np.isin(self.episode, list(held_out))
        return ~validation, validation


def labelled(data: Demonstrations, share: float) -> NDArray[np.bool_]:
    """Mask (N,) of the frames whose episode belongs to the first `share` of the episodes."""
    episodes = np.unique(data.episode)
    return np.isin(data.episode, episodes[: max(1, round(share * len(episodes)))])


def load_demonstrations(folder: Path) -> Demonstrations:
    """Read every shard of a folder written by `vla-ros demos`; ConfigError where it is absent or incomplete."""
    meta_file = folder / "meta.json"
    if not meta_file.is_file():
        raise ConfigError(f"{meta_file}: no such file; write demonstrations with 'vla-ros demos --out {folder}' first")
    meta = json.loads(meta_file.read_text())
    shards = sorted(folder.glob("shard_*"))
    if not shards:
        raise ConfigError(f"{folder}: holds no shards; run 'vla-ros demos' again")

    def gather(name: str) -> NDArray[Any]:
        try:
            return np.concatenate([np.load(shard / f"{name}.npy", mmap_mode="r") for shard in shards])
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder}: array '{name}' cannot be read: {error}") from None

    images = {camera: gather(camera) for camera in meta["cameras"]}
    return Demonstrations(images=images, meta=meta, **{name: gather(name) for name in ARRAYS})
