"""An exported dataset against the published description of LeRobotDataset v3.0."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bag_files import picture, steady, write_bag
from PIL import Image
from std_msgs.msg import String

from vla_ros.bags.episodes.assembly import EpisodeOptions
from vla_ros.core.errors import ConfigError
from vla_ros.core.robot import load_robot
from vla_ros.datasets.export import export
from vla_ros.datasets.lerobot.columns_file import read_columns

ROBOT = load_robot("ur5e_tabletop")
START = 10**18
COUNTERS = ("frame_index", "episode_index", "index", "task_index")
FIGURES = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}
CAMERAS = ("observation.images.front", "observation.images.wrist")


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One bag with a sentence, one with two marked episodes of another."""
    folder = tmp_path_factory.mktemp("bags")
    marked = steady(ROBOT, 6, START, "push")
    for at_s, success in ((0.5, None), (2.5, True), (3.5, None), (5.5, False)):
        mark = {"event": "start"} if success is None else {"event": "end", "success": success}
        marked.append((START + int(at_s * 1e9), "/episode", String(data=json.dumps(mark))))
    return [write_bag(folder / "one", steady(ROBOT, 3)), write_bag(folder / "two", marked)]


@pytest.fixture(scope="module")
def dataset(bags: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dataset") / "set"
    figures, report = export(bags, ROBOT, EpisodeOptions(), "lerobot", out)
    assert figures == {"episodes": 3, "frames": 29 + 20 + 20, "tasks": 2}, report.left_out
    return out


def info(dataset: Path) -> dict[str, Any]:
    return json.loads((dataset / "meta/info.json").read_text())


def rows(dataset: Path) -> list[dict[str, Any]]:
    return pq.read_table(dataset / "data/chunk-000/file-000.parquet").to_pylist()


def episodes(dataset: Path) -> list[dict[str, Any]]:
    return pq.read_table(dataset / "meta/episodes/chunk-000/file-000.parquet").to_pylist()


def test_info_has_the_fields_of_the_format(dataset: Path) -> None:
    found = info(dataset)
    fixed = {
        "codebase_version": "v3.0",
        "robot_type": "ur5e_tabletop",
        "total_episodes": 3,
        "total_frames": 69,
        "total_tasks": 2,
        "chunks_size": 1000,
        "fps": 10,
        "splits": {"train": "0:3"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    assert {key: found[key] for key in fixed} == fixed
    assert isinstance(found["data_files_size_in_mb"], int) and isinstance(found["video_files_size_in_mb"], int)
    features = found["features"]
    for key in ("observation.state", "action"):
        assert features[key] == {"dtype": "float32", "shape": [7], "names": list(ROBOT.joint_names)}
    for key in CAMERAS:
        assert features[key]["dtype"] == "video" and features[key]["shape"] == [64, 64, 3]
        assert features[key]["names"] == ["height", "width", "channels"]
        assert features[key]["info"]["video.fps"] == 10 and features[key]["info"]["has_audio"] is False
        assert features[key]["info"]["is_depth_map"] is False and "video.is_depth_map" not in features[key]["info"]
    assert features["timestamp"] == {"dtype": "float32", "shape": [1], "names": None}
    for key in ("frame_index", "episode_index", "index", "task_index"):
        assert features[key] == {"dtype": "int64", "shape": [1], "names": None}


def test_tables_have_the_schemas_of_the_format(dataset: Path) -> None:
    schema = pq.read_schema(dataset / "data/chunk-000/file-000.parquet")
    assert schema.field("timestamp").type == pa.float32()
    for name in ("frame_index", "episode_index", "index", "task_index"):
        assert schema.field(name).type == pa.int64()
    for name in ("observation.state", "action"):
        assert schema.field(name).type == pa.list_(pa.float32(), 7)
    columns = set(pq.read_schema(dataset / "meta/episodes/chunk-000/file-000.parquet").names)
    wanted = {"episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index"}
    wanted |= {f"{part}/{name}" for part in ("data", "meta/episodes") for name in ("chunk_index", "file_index")}
    for key in CAMERAS:
        wanted |= {f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")}
    for key in ("observation.state", "action", *CAMERAS, "timestamp", *COUNTERS):
        wanted |= {f"stats/{key}/{name}" for name in FIGURES}
    assert wanted == columns


def test_frames_are_counted_through(dataset: Path) -> None:
    found = rows(dataset)
    assert [row["index"] for row in found] == list(range(69))
    for number, episode in enumerate(episodes(dataset)):
        own = found[episode["dataset_from_index"] : episode["dataset_to_index"]]
        assert {row["episode_index"] for row in own} == {number} and len(own) == episode["length"]
        assert [row["frame_index"] for row in own] == list(range(len(own)))
        assert [row["timestamp"] for row in own] == pytest.approx([k / 10 for k in range(len(own))], abs=1e-6)


def test_tasks_are_the_sentences(dataset: Path) -> None:
    pandas = pytest.importorskip("pandas")
    tasks = pandas.read_parquet(dataset / "meta/tasks.parquet")
    assert tasks.index.tolist() == ["reach", "push"] and tasks["task_index"].tolist() == [0, 1]
    assert [episode["tasks"] for episode in episodes(dataset)] == [["reach"], ["push"], ["push"]]
    assert [row["task_index"] for row in rows(dataset)] == [0] * 29 + [1] * 40


def test_actions_are_what_was_commanded_one_step_later(dataset: Path) -> None:
    for row in rows(dataset):
        assert row["action"][0] == pytest.approx(row["observation.state"][0] + 0.1 * 0.1 + 0.01, abs=2e-3)


def test_videos_hold_each_episodes_frames(dataset: Path) -> None:
    for key in CAMERAS:
        with av.open(str(dataset / f"videos/{key}/chunk-000/file-000.mp4")) as file:
            assert file.streams.video[0].average_rate == Fraction(10)
            frames = {round(float(f.time) * 10): f.to_ndarray(format="rgb24") for f in file.decode(video=0)}
        assert sorted(frames) == list(range(69))
        for episode, first in zip(episodes(dataset), (0, 5, 35), strict=True):
            start = round(episode[f"videos/{key}/from_timestamp"] * 10)
            assert episode[f"videos/{key}/to_timestamp"] == pytest.approx((start + episode["length"]) / 10)
            for k in range(episode["length"]):
                errors = [np.abs(frames[start + k].astype(int) - picture(first + k + d)).mean() for d in (-1, 0, 1)]
                assert errors[1] < 6 and errors[1] == min(errors), (key, first, k, errors)


def test_statistics_are_those_of_the_frames(dataset: Path) -> None:
    stats = json.loads((dataset / "meta/stats.json").read_text())
    states = np.array([row["observation.state"] for row in rows(dataset)])
    assert set(stats) == {"observation.state", "action", *CAMERAS, "timestamp", *COUNTERS}
    np.testing.assert_allclose(stats["observation.state"]["mean"], states.mean(0), atol=1e-6)
    np.testing.assert_allclose(stats["observation.state"]["std"], states.std(0), atol=1e-6)
    assert all(column["count"] == [69] and set(column) == FIGURES for column in stats.values())
    assert stats["index"]["max"] == [68.0] and stats["episode_index"]["max"] == [2.0]
    assert np.shape(stats[CAMERAS[0]]["mean"]) == (3, 1, 1) and 0 < np.min(stats[CAMERAS[0]]["mean"]) < 1


def test_lossless_pictures_are_kept_exactly(bags: list[Path], tmp_path: Path) -> None:
    export(bags[:1], ROBOT, EpisodeOptions(), "lerobot", tmp_path / "set", lossless=True)
    found = info(tmp_path / "set")
    assert found["video_path"] is None and found["features"][CAMERAS[0]]["dtype"] == "image"
    for k, row in enumerate(rows(tmp_path / "set")):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(row[CAMERAS[0]]["bytes"]))), picture(k))


def test_only_successes_leaves_the_others_out(bags: list[Path], tmp_path: Path) -> None:
    figures, _ = export(bags[1:], ROBOT, EpisodeOptions(only_successes=True), "lerobot", tmp_path / "set")
    assert figures["episodes"] == 1 and figures["frames"] == 20


def test_a_bag_of_another_robot_is_refused_and_leaves_nothing(bags: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lacks"):
        export(bags, load_robot("fr3"), EpisodeOptions(actions="state"), "lerobot", tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_not_touched(bags: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exists already; name a new folder"):
        export(bags, ROBOT, EpisodeOptions(), "lerobot", tmp_path)


def test_the_kinds_of_the_columns_travel_with_the_dataset(dataset: Path) -> None:
    """In a file of its own: LeRobot's own files must stay as LeRobot writes them, or sets do not merge."""
    columns = read_columns(dataset)
    assert [column.name for column in columns] == list(ROBOT.joint_names)
    assert [column.kind for column in columns] == ["revolute"] * 6 + ["gripper"]
    assert columns[-1].stroke == (0.0, 1.0) and columns[0].stroke is None
