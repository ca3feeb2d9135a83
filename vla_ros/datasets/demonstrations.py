"""Demonstrations on disk as arrays in memory, and which frames may serve which purpose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.columns import Column, are_grippers
from vla_ros.core.config import parse, to_plain
from vla_ros.core.contract import CameraContract, PolicyContract
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.json_files import read_json

ARRAYS = ("state", "executed", "plans", "plan_task", "aux", "episode", "frame", "task")
META = ("tasks", "joints", "cameras", "step_ns")


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """N frames of many episodes, in order; `datasets/expert.py` describes how they were made.

    images: camera -> (N, H, W, 3) uint8. state: (N, D), executed: (N, A). plans: (N, K, H, A), the expert's plans for
    the tasks `plan_task` (N, K), the episode's own first. aux: (N, P) privileged positions. episode, frame, task: (N,).
    meta: `joints`, the A names of the action columns; `columns`, what they are (`core.columns`), if known;
    `state`, the D names of the state columns, if they differ.
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

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the A action columns are; ConfigError if it is unknown which of them are grippers."""
        if "columns" not in self.meta:
            raise ConfigError(
                f"the data does not say which of its columns are grippers ({', '.join(self.meta['joints'])}); "
                "name them in the training's config, as in columns: {grippers: [gripper_joint]}, or [] for none"
            )
        columns = parse(self.meta["columns"], tuple[Column, ...], "columns of the data")
        if [column.name for column in columns] != list(self.meta["joints"]):
            raise ConfigError("columns of the data: their names differ from those of its joints")
        return columns

    @property
    def is_gripper(self) -> NDArray[np.bool_]:
        """(A,) bool: which columns are grippers. ConfigError as for `columns`."""
        return are_grippers([column.kind for column in self.columns])

    @property
    def relative(self) -> NDArray[np.bool_]:
        """(A,) bool: actions learned as differences from the state: the arm's, if the states are the arm's too."""
        return ~self.is_gripper & ("state" not in self.meta)

    def differences(self, relative: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return all plans (N K, H, A), as differences from the state where `relative`."""
        plans = self.plans
        if relative.any():
            plans = plans - np.where(relative, self.state, 0)[:, None, None, :]
        found: NDArray[np.float32] = plans.reshape(-1, *plans.shape[2:])
        return found

    def contract(self, horizon: int, execute_steps: int) -> PolicyContract:
        """Return what a model of these data expects of a robot: cameras, joints and their kinds, time base."""
        cameras = tuple(CameraContract(name, x.shape[2], x.shape[1]) for name, x in self.images.items())
        return PolicyContract(
            cameras,
            tuple(self.meta["joints"]),
            self.meta["step_ns"] / 1e9,
            horizon,
            execute_steps,
            kinds=tuple(column.kind for column in self.columns),
            state=tuple(self.meta.get("state", ())),
        )

    def windows(self, steps: int) -> NDArray[np.int64]:
        """Return the frames followed by `steps` more frames of their own episode."""
        index = np.arange(len(self.episode) - steps)
        whole: NDArray[np.int64] = index[self.episode[index] == self.episode[index + steps]]
        return whole

    def split(self, share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return masks (N,) of training and validation frames; the last `share` of the episodes validates."""
        episodes = np.unique(self.episode)
        held_out = set(episodes[len(episodes) - max(1, round(share * len(episodes))) :].tolist())
        validation = np.isin(self.episode, list(held_out))
        return ~validation, validation


def labelled(data: Demonstrations, share: float) -> NDArray[np.bool_]:
    """Return a mask (N,) of the frames whose episode belongs to the first `share` of the episodes."""
    episodes = np.unique(data.episode)
    return np.isin(data.episode, episodes[: max(1, round(share * len(episodes)))])


def told_grippers(data: Demonstrations, grippers: tuple[str, ...]) -> Demonstrations:
    """Return the same with `grippers` as gripper columns, whatever the data say; the others are an arm's joints."""
    joints = data.meta["joints"]
    for name in grippers:
        if name not in joints:
            raise ConfigError(f"columns.grippers: no column '{name}'{did_you_mean(name, joints)}")
    columns = [Column(name, "gripper" if name in grippers else "revolute") for name in joints]
    return replace(data, meta={**data.meta, "columns": to_plain(columns)})


def load_demonstrations(folder: Path) -> Demonstrations:
    """Read every shard of a folder written by `vla-ros demos`; ConfigError if it is absent or incomplete."""
    meta_file = folder / "meta.json"
    if not meta_file.is_file():
        raise ConfigError(f"{meta_file}: no such file; write demonstrations with 'vla-ros demos --out {folder}' first")
    meta = read_json(meta_file)
    if not isinstance(meta, dict) or (absent := [name for name in META if name not in meta]):
        raise ConfigError(f"{meta_file}: lacks {', '.join(absent if isinstance(meta, dict) else META)}")
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
