"""Statistics of exports against those that LeRobot itself has written of the same numbers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from golden import golden_folder
from PIL import Image

from vla_ros.bags.episodes.assembly import Frame
from vla_ros.core.columns import Column
from vla_ros.core.types import Observation
from vla_ros.datasets.formats import Layout, open_writer
from vla_ros.datasets.lerobot.summary import levels_of, of_pictures, of_rows, sampled, together

GOLDEN = golden_folder("LEROBOT_DATASETS_GOLDEN", "lerobot_datasets")
official = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden datasets at {GOLDEN}")


def parquet(folder: Path, below: str) -> list[dict[str, Any]]:
    files = sorted((folder / below).rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def summary(rows: list[dict[str, Any]], key: str, kind: str, fps: int) -> Any:
    if kind == "image":
        return of_pictures([levels_of(np.asarray(Image.open(io.BytesIO(row[key]["bytes"])))) for row in rows])
    if key == "timestamp":
        return of_rows((np.arange(len(rows)) / fps)[:, None])
    values = np.array([row[key] for row in rows], dtype=np.float32 if kind == "float32" else np.float64)
    return of_rows(values.reshape(len(rows), -1))


@official
@pytest.mark.parametrize("name", ["images", "video", "files"])
def test_statistics_are_those_of_lerobot(name: str) -> None:
    """Every figure of every column that is no video, of each episode and of the whole set."""
    folder = GOLDEN / name
    info, stats = (json.loads((folder / f"meta/{part}.json").read_text()) for part in ("info", "stats"))
    rows, episodes = parquet(folder, "data"), parquet(folder, "meta/episodes")
    for key, feature in info["features"].items():
        if feature["dtype"] == "video":
            continue
        parts = []
        for episode in episodes:
            own = [row for row in rows if row["episode_index"] == episode["episode_index"]]
            parts.append(summary(own, key, feature["dtype"], info["fps"]))
            agree(parts[-1].figures(), {k: episode[f"stats/{key}/{k}"] for k in stats[key]}, feature["dtype"])
        agree(together(parts).figures(), stats[key], feature["dtype"])


def agree(found: dict[str, Any], wanted: dict[str, Any], kind: str) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        # LeRobot takes the deviation of a picture as a small difference of large float32 numbers.
        limit = 5e-5 if kind == "image" and name == "std" else 1e-6
        assert np.shape(found[name]) == np.shape(value)
        np.testing.assert_allclose(found[name], value, rtol=0, atol=limit, err_msg=name)


def test_deviations_of_pictures_are_exact() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 40, 60, 3), dtype=np.uint8)
    found = of_pictures([levels_of(frame) for frame in frames])
    np.testing.assert_allclose(found.std.ravel(), (frames / 255.0).std((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.mean.ravel(), (frames / 255.0).mean((0, 1, 2)), rtol=1e-12)
    assert found.count == 5 and found.mean.shape == (3, 1, 1)


def test_long_episodes_and_large_pictures_are_sampled_as_lerobot_does() -> None:
    assert sampled(1) == [0] and sampled(99) == list(range(99)) and len(sampled(400)) == 100
    assert len(sampled(1000)) == 177 and sampled(1000)[0] == 0 and sampled(1000)[-1] == 999
    assert levels_of(np.zeros((480, 640, 3), np.uint8))[0, 0] == 120 * 160
    assert levels_of(np.zeros((299, 64, 3), np.uint8))[0, 0] == 299 * 64


def test_an_episode_of_one_frame_has_its_value_everywhere() -> None:
    found = of_rows(np.array([[2.0, -1.0]])).figures()
    assert all(found[name] == [2.0, -1.0] for name in found if name not in ("std", "count"))
    assert found["std"] == [0.0, 0.0] and found["count"] == [1]


@official
@pytest.mark.parametrize("lossless", [False, True])
def test_an_export_has_the_layout_of_lerobots_own(tmp_path: Path, lossless: bool) -> None:
    """Column by column: names, order, types; the numbers of columns apart, which depend on the robot."""
    own = GOLDEN / ("images" if lossless else "video")
    columns = (*(Column(f"joint_{k}", "revolute") for k in range(6)), Column("finger", "gripper", (0.0, 0.8)))
    cameras = {"cam": (64, 96)} if lossless else {"front": (64, 96), "wrist": (72, 80)}
    writer = open_writer("lerobot", tmp_path / "set", Layout("arm", 15, cameras, columns, lossless))
    for k in range(4):
        state = np.full((1, 7), 0.1 * k, np.float32)
        images = {name: np.full((1, *size, 3), 10 * k, np.uint8) for name, size in cameras.items()}
        writer.add(Frame(0, Observation(k, images, state, "go"), state[0]))
    writer.close()
    skipped = ("observation.environment_state", "next.done")
    for table in ("data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"):
        found, wanted = (pq.read_schema(folder / table) for folder in (tmp_path / "set", own))
        named = [name for name in wanted.names if not any(part in name for part in skipped)]
        assert found.names == named
        for name in named:
            ours, theirs = found.field(name).type, wanted.field(name).type
            if pa.types.is_fixed_size_list(theirs):
                assert ours == pa.list_(theirs.value_type, 7)
            else:
                assert ours == theirs, name
    ours, theirs = (json.loads((folder / "meta/info.json").read_text()) for folder in (tmp_path / "set", own))
    assert ours.keys() == theirs.keys()
    if not lossless:
        info, wanted = (part["features"]["observation.images.front"]["info"] for part in (ours, theirs))
        encoder = {"video.g", "video.crf", "video.preset", "video.fast_decode", "video.video_backend"}
        assert info.keys() == wanted.keys() - encoder - {"video.extra_options"}
        assert info == {key: wanted[key] for key in info}
