"""LeRobotDatasets v3.0 as demonstrations: those of `vla-ros export`, and those made by others."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.training.config import Columns
from vla_ros.training.dataset import Demonstrations

VERSION = "v3.0"
IMAGES = "observation.images."


def load_lerobot(folder: Path, horizon: int, columns: Columns) -> Demonstrations:
    """Read all of it into memory. A frame's plan is its own action and the next `horizon` - 1; at an episode's end the
    last one goes on. ConfigError says what is missing, or not what it should be."""
    info = json.loads((folder / "meta/info.json").read_text())
    if info.get("codebase_version") != VERSION:
        raise ConfigError(f"{folder}: is a dataset of {info.get('codebase_version')}; right would be {VERSION}")
    cameras = _cameras(folder, info, columns)
    lossless = [key for key in cameras.values() if info["features"][key]["dtype"] == "image"]
    table = _table(folder, [columns.state, columns.action, "episode_index", "frame_index", "task_index", *lossless])
    state, action = (_rows(folder, table, name) for name in (columns.state, columns.action))
    joints = columns.joints or _joints(folder, info, columns)
    for name, rows in ((columns.state, state), (columns.action, action)):
        if rows.shape[1] != len(joints):
            raise ConfigError(f"{folder}: '{name}' has {rows.shape[1]} columns; right would be {len(joints)} joints")
    episode, frame, task = (table[n].to_numpy() for n in ("episode_index", "frame_index", "task_index"))
    images = {
        name: _pictures(table[key], columns.size) if key in lossless else _video(folder, info, key, columns.size)
        for name, key in cameras.items()
    }  # fmt: skip
    meta = {
        "tasks": _tasks(folder), "joints": list(joints), "cameras": list(cameras), "step_ns": round(1e9 / info["fps"]),
        "horizon": horizon, "episodes": info["total_episodes"], "frames": len(state), "seed": _digest(folder),
        "format": f"LeRobotDataset {VERSION}",
    }  # fmt: skip
    return Demonstrations(
        images=images, state=state, executed=action, plans=_plans(action, episode, horizon)[:, None],
        plan_task=task[:, None], aux=np.zeros((len(state), 0), np.float32), episode=episode, frame=frame, task=task,
        meta=meta,
    )  # fmt: skip


def _cameras(folder: Path, info: dict[str, Any], columns: Columns) -> dict[str, str]:
    features = info["features"]
    there = [key for key, feature in features.items() if feature["dtype"] in ("video", "image")]
    found = dict(columns.cameras) or {key.removeprefix(IMAGES): key for key in there}
    for key in found.values():
        if key not in there:
            raise ConfigError(f"{folder}: there is no camera '{key}'{did_you_mean(key, there)}")
    for key in (columns.state, columns.action):
        if key not in features:
            raise ConfigError(f"{folder}: there is no column '{key}'{did_you_mean(key, features)}")
    return found


def _joints(folder: Path, info: dict[str, Any], columns: Columns) -> tuple[str, ...]:
    """The names of the action's columns: a list, or a dict of one list."""
    names = info["features"][columns.action].get("names")
    if isinstance(names, dict) and len(names) == 1:
        (names,) = names.values()
    if not isinstance(names, list):
        raise ConfigError(f"{folder}: does not name the columns of '{columns.action}'; give 'joints' in the config")
    return tuple(map(str, names))


def _table(folder: Path, columns: list[str]) -> pa.Table:
    files = sorted((folder / "data").glob("chunk-*/file-*.parquet"))
    if not files:
        raise ConfigError(f"{folder}: holds no data/chunk-*/file-*.parquet")
    try:
        table = pa.concat_tables([pq.read_table(file, columns=["index", *columns]) for file in files])
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{folder}: the tables cannot be read: {error}") from None
    return table.sort_by("index")


def _rows(folder: Path, table: pa.Table, name: str) -> NDArray[np.float32]:
    rows = np.array(table[name].to_pylist(), dtype=np.float32)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ConfigError(f"{folder}: column '{name}' is {rows.shape}; right would be finite rows of one length")
    return rows


def _tasks(folder: Path) -> list[str]:
    """The sentences by their number. The table's index is the sentence, under whatever name pandas gave it."""
    table = pq.read_table(folder / "meta/tasks.parquet")
    (sentence,) = [name for name in table.column_names if name != "task_index"]
    pairs = dict(zip(table["task_index"].to_pylist(), table[sentence].to_pylist(), strict=True))
    return [pairs[number] for number in range(len(pairs))]


def _plans(action: NDArray[np.float32], episode: NDArray[np.int64], horizon: int) -> NDArray[np.float32]:
    """(N, D) -> (N, H, D)."""
    last = np.searchsorted(episode, episode, side="right") - 1
    steps = np.minimum(np.arange(len(action))[:, None] + np.arange(horizon), last[:, None])
    plans: NDArray[np.float32] = action[steps]
    return plans


def _pictures(column: Any, size: int) -> NDArray[np.uint8]:
    return np.stack([_scaled(Image.open(io.BytesIO(row["bytes"])).convert("RGB"), size) for row in column.to_pylist()])


def _video(folder: Path, info: dict[str, Any], key: str, size: int) -> NDArray[np.uint8]:
    """(N, H, W, 3): the frames of all episodes, in order."""
    episodes = pa.concat_tables(
        [pq.read_table(file) for file in sorted((folder / "meta/episodes").glob("chunk-*/file-*.parquet"))]
    ).sort_by("episode_index")
    names = ("chunk_index", "file_index", "from_timestamp")
    places = zip(*(episodes[f"videos/{key}/{name}"].to_pylist() for name in names), strict=True)
    first, length = (episodes[name].to_pylist() for name in ("dataset_from_index", "length"))
    by_file: dict[str, list[tuple[int, int, int]]] = {}
    for (chunk, file, start_s), index, count in zip(places, first, length, strict=True):
        path = info["video_path"].format(video_key=key, chunk_index=chunk, file_index=file)
        by_file.setdefault(path, []).append((round(start_s * info["fps"]), index, count))
    images: NDArray[np.uint8] | None = None
    seen = np.zeros(sum(length), np.bool_)
    for path, there in by_file.items():
        rows = {start + k: index + k for start, index, count in there for k in range(count)}
        for number, image in _decoded(folder / path, info["fps"], size):
            if number in rows:
                images = np.zeros((len(seen), *image.shape), np.uint8) if images is None else images
                images[rows[number]], seen[rows[number]] = image, True
    if images is None or not seen.all():
        raise ConfigError(f"{folder}: the video of '{key}' lacks {int((~seen).sum())} of {len(seen)} frames")
    return images


def _decoded(path: Path, fps: int, size: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    try:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(video=0):
                picture = frame.to_ndarray(format="rgb24")
                yield round(float(frame.time or 0) * fps), _scaled(Image.fromarray(picture), size)
    except (av.FFmpegError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def _scaled(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    if size and picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _digest(folder: Path) -> str:
    """What tells this dataset from others."""
    return hashlib.sha256((folder / "meta/stats.json").read_bytes()).hexdigest()[:12]
