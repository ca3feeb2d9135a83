"""Reads LeRobotDatasets v3.0 as demonstrations, from `vla-ros export` or other tools."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vla_ros.core.columns import Column
from vla_ros.core.config import to_plain
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.paths import inside
from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.datasets.lerobot.columns import Columns
from vla_ros.datasets.lerobot.columns_file import read_columns
from vla_ros.datasets.lerobot.info_file import INFO, VERSION, Info, read_info
from vla_ros.datasets.lerobot.pictures import from_table, from_videos
from vla_ros.datasets.lerobot.tables import data_table, integers, read_tasks, tasks_of, vectors

IMAGES = "observation.images."
MAX_META = 50_000_000  # bytes


def load_lerobot(folder: Path, horizon: int, columns: Columns) -> Demonstrations:
    """Read the whole dataset into memory. Raise ConfigError if anything is missing or wrong.

    A frame's plan is its own action and the next `horizon` - 1; at an episode's end the last action repeats.
    """
    info = read_info(folder)
    cameras = _cameras(info, columns)
    lossless = [key for key in cameras.values() if info.features[key].dtype == "image"]
    table = data_table(info, [columns.state, columns.action, *lossless])
    state, action = (vectors(folder, table, name) for name in (columns.state, columns.action))
    named = _named(info, columns, state.shape[1], action.shape[1])
    tasks = read_tasks(folder)
    task = tasks_of(info, table, tasks)
    episode, frame = (integers(folder, table, name) for name in ("episode_index", "frame_index"))
    images = {name: _pictures(info, table, key, columns.size) for name, key in cameras.items()}
    meta = {
        "tasks": tasks,
        **named,
        "cameras": list(cameras),
        "step_ns": round(1e9 / info.fps),
        "horizon": horizon,
        "episodes": info.episodes,
        "frames": len(state),
        "seed": _digest(info, state, action),
        "format": f"LeRobotDataset {VERSION}",
    }
    plans, aux = _plans(action, episode, horizon)[:, None], np.zeros((len(state), 0), np.float32)
    return Demonstrations(images, state, action, plans, task[:, None], aux, episode, frame, task, meta)


def _pictures(info: Info, table: pa.Table, key: str, size: int) -> NDArray[np.uint8]:
    if info.features[key].dtype == "image":
        return from_table(info, key, table[key], size)
    return from_videos(info, key, size)


def _cameras(info: Info, columns: Columns) -> dict[str, str]:
    there = [key for key, feature in info.features.items() if feature.is_picture]
    found = dict(columns.cameras) or {key.removeprefix(IMAGES): key for key in there}
    if not found:
        raise ConfigError(f"{info.folder}: holds no pictures for a policy to see")
    for key in found.values():
        if key not in there:
            raise ConfigError(f"{info.folder}: no camera '{key}'{did_you_mean(key, there)}")
    for key in (columns.state, columns.action):
        if key not in info.features:
            raise ConfigError(f"{info.folder}: no column '{key}'{did_you_mean(key, info.features)}")
    return found


def _named(info: Info, columns: Columns, states: int, actions: int) -> dict[str, object]:
    """Return the names of the columns, and what they are if the dataset says it, as `Demonstrations.meta`."""
    names = columns.joints or info.features[columns.action].names
    if names is None:
        raise ConfigError(
            f"{info.folder}: does not name the columns of '{columns.action}'; give columns: {{joints: [...]}}"
        )
    if len(names) != actions:
        raise ConfigError(f"{info.folder}: '{columns.action}' has {actions} columns, their names are {len(names)}")
    meta: dict[str, object] = {"joints": list(names)}
    if states != actions:
        told = info.features[columns.state].names
        whole = told is not None and len(told) == states
        meta["state"] = list(told) if told and whole else [f"{columns.state}_{k}" for k in range(states)]
    if known := read_columns(info.folder):
        meta["columns"] = to_plain(_renamed(info, columns, known, names))
    return meta


def _renamed(info: Info, columns: Columns, known: tuple[Column, ...], names: tuple[str, ...]) -> list[Column]:
    """Return what the columns are, under the names that the config gives them."""
    if tuple(column.name for column in known) != info.features[columns.action].names:
        raise ConfigError(f"{info.folder}: meta/vla_ros.json names other columns than {INFO} does")
    return [replace(column, name=name) for column, name in zip(known, names, strict=True)]


def _plans(action: NDArray[np.float32], episode: NDArray[np.int64], horizon: int) -> NDArray[np.float32]:
    """Return the plans (N, H, A) of actions (N, A)."""
    last = np.searchsorted(episode, episode, side="right") - 1
    steps = np.minimum(np.arange(len(action))[:, None] + np.arange(horizon), last[:, None])
    plans: NDArray[np.float32] = action[steps]
    return plans


def _digest(info: Info, *arrays: NDArray[np.float32]) -> str:
    """Return a fingerprint of the dataset: its numbers, and its statistics, which also cover its images."""
    found = hashlib.sha256()
    for name in (INFO, "meta/stats.json"):
        path = inside(info.folder, name)
        if path.is_file() and path.stat().st_size <= MAX_META:
            found.update(path.read_bytes())
    for array in arrays:
        found.update(array.tobytes())
    return found.hexdigest()[:12]
