"""Small LeRobotDatasets by our own writer, and ways to spoil them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_ros.bags.episodes.assembly import Frame
from vla_ros.core.columns import Column
from vla_ros.core.types import Observation
from vla_ros.datasets.formats import Layout, open_writer

DATA, EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
CAMERA = "observation.images.front"
# As the two real robots are called: no name says "gripper", and the gripper is not the last column.
COLUMNS = (
    *(Column(f"joint_{k}", "revolute") for k in range(5)),
    Column("robotiq_85_left_knuckle_joint", "gripper", (0.0, 0.8)),
    Column("joint_5", "revolute"),
)
GRIPPER = 5


def write_set(
    out: Path,
    *,
    episodes: int = 4,
    frames: int = 20,
    lossless: bool = True,
    columns: Sequence[Column] = COLUMNS,
    cameras: Sequence[str] = ("front",),
    task: str = "push the red block to the left",
) -> Path:
    """Joints swing, the gripper closes half way through an episode; commands are the next state."""
    layout = Layout("arm", 10, dict.fromkeys(cameras, (64, 64)), tuple(columns), lossless)
    writer, rng = open_writer("lerobot", out, layout), np.random.default_rng(0)
    for episode in range(episodes):
        shown = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        for k in range(frames):
            images = {name: np.roll(shown, k, axis=1)[None] for name in cameras}
            state, action = state_at(columns, episode, k, frames), state_at(columns, episode, k + 1, frames)
            writer.add(Frame(episode, Observation(k, images, state[None], task), action))
    writer.close()
    return out


def state_at(columns: Sequence[Column], episode: int, k: int, frames: int) -> np.ndarray:
    """(D,) where everything is."""
    closed = k >= frames // 2
    return np.array(
        [
            (column.stroke or (0, 1))[int(closed)]
            if column.kind == "gripper"
            else 1.0 + place + 0.02 * k + 0.1 * np.sin(episode + 0.3 * k)
            for place, column in enumerate(columns)
        ],
        dtype=np.float32,
    )


def edit_info(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change info.json in place."""
    path = folder / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def edit_rows(folder: Path, file: str, name: str, change: Callable[[list[Any]], list[Any]], kind: Any = None) -> None:
    """Change a column of a parquet file in place."""
    table = pq.read_table(folder / file)
    place = table.column_names.index(name)
    values = pa.array(change(table[name].to_pylist()), kind or table.schema.field(name).type)
    pq.write_table(table.set_column(place, name, values), folder / file)
