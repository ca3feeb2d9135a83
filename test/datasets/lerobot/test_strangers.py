"""LeRobotDatasets of strangers: whatever is in their files, nothing of it runs, and each fault is one line."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_sets import CAMERA, DATA, EPISODES, edit_info, edit_rows, write_set

from vla_ros.core.errors import ConfigError
from vla_ros.datasets.lerobot.columns import Columns
from vla_ros.datasets.lerobot.info_file import filled
from vla_ros.datasets.lerobot.reader import load_lerobot

Spoil = Callable[[Path], object]
VIDEO = f"videos/{CAMERA}/chunk-000/file-000.mp4"


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return {
        "lossless": write_set(folder / "lossless", episodes=3, frames=8),
        "video": write_set(folder / "video", episodes=3, frames=8, lossless=False),
    }


def spoilt(sets: dict[str, Path], kind: str, tmp_path: Path, spoil: Spoil) -> Path:
    folder = tmp_path / "set"
    shutil.copytree(sets[kind], folder)
    spoil(folder)
    return folder


def refused(folder: Path, message: str) -> None:
    """One short line, soon, and without much memory."""
    before, started_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ConfigError, match=message) as caught:
        load_lerobot(folder, 4, Columns())
    text = str(caught.value)
    assert "\n" not in text and text.isprintable() and len(text) < 600
    assert time.monotonic() - started_s < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def info(change: Callable[[dict[str, Any]], object]) -> Spoil:
    return lambda folder: edit_info(folder, change)


def put(name: str, value: Any) -> Spoil:
    return info(lambda found: found.__setitem__(name, value))


def text(name: str, content: str) -> Spoil:
    return lambda folder: (folder / name).write_text(content)


def rows(file: str, name: str, change: Callable[[list[Any]], list[Any]], kind: Any = None) -> Spoil:
    return lambda folder: edit_rows(folder, file, name, change, kind)


def first(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [value, *values[1:]]


def without(file: str, name: str) -> Spoil:
    return lambda folder: pq.write_table(pq.read_table(folder / file).drop_columns([name]), folder / file)


def remove(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def half(name: str) -> Spoil:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size // 2)


def ragged(values: list[Any]) -> list[Any]:
    return [values[0][:3], *values[1:]]


def tasks(numbers: list[Any], sentences: list[Any], kind: Any = None) -> Spoil:
    table = pa.table({"task_index": pa.array(numbers, kind), "task": sentences})
    return lambda folder: pq.write_table(table, folder / "meta/tasks.parquet")


def outside(name: str) -> Spoil:
    """The file moves out of the dataset, and a link is left."""

    def move(folder: Path) -> None:
        (folder / name).rename(folder.parent / "elsewhere")
        (folder / name).symlink_to(folder.parent / "elsewhere")

    return move


def swapped(values: list[Any]) -> list[Any]:
    """Episodes 0 and 2 change places."""
    return [2 - value for value in values]


ODD_TABLES: dict[str, tuple[Spoil, str]] = {
    "no info": (remove("meta/info.json"), "info.json: no such file"),
    "info is no JSON": (text("meta/info.json", "{"), "cannot be read as JSON"),
    "info is a list": (text("meta/info.json", "[]"), "must be an object"),
    "info has a key twice": (text("meta/info.json", '{"fps": 10, "fps": 30}'), "'fps' is given twice"),
    "info is deep": (text("meta/info.json", "[" * 10**6), "nested deeper"),
    "info is a link out": (outside("meta/info.json"), "leads out of it"),
    "features are a list": (put("features", []), "features must be an object"),
    "a feature is text": (put("features", {"a": "b"}), "must be an object with a dtype"),
    "features missing": (info(lambda found: found.pop("features")), "features must be an object"),
    "fps is text": (put("fps", "10"), "fps must be a whole number"),
    "fps is 0": (put("fps", 0), "fps must be a whole number"),
    "fps is true": (put("fps", True), "fps must be a whole number"),
    "fps is huge": (put("fps", 10**12), "fps must be a whole number"),
    "frames lie": (put("total_frames", 25), "hold 24 frames, info.json says 25"),
    "episodes lie": (put("total_episodes", 4), "must count 4 episodes"),
    "no pictures": (info(lambda found: found["features"].pop(CAMERA)), "holds no pictures"),
    "names are control characters": (
        info(lambda found: found["features"]["action"].__setitem__("names", ["\x1b]0;x\x07"] * 7)),
        "names of feature 'action'",
    ),
    "a feature's name is an escape": (
        info(lambda found: found["features"].__setitem__("\x1b[2J", {"dtype": "float32"})),
        "control char",
    ),
    "no data": (lambda folder: shutil.rmtree(folder / "data"), "holds no data/chunk"),
    "data is no parquet": (text(DATA, "x"), "cannot be read"),
    "data is cut in half": (half(DATA), "cannot be read"),
    "data is a link out": (outside(DATA), "leads out of it"),
    "no index": (without(DATA, "index"), "no column 'index'"),
    "no pictures in the table": (without(DATA, CAMERA), f"no column '{CAMERA}'"),
    "index is doubled": (rows(DATA, "index", first(1)), "'index' must count from 0 to 23"),
    "index has a gap": (rows(DATA, "index", first(None)), "must hold whole numbers in every row"),
    "episodes out of order": (rows(DATA, "episode_index", swapped), "episodes in order"),
    "an episode in two pieces": (rows(DATA, "episode_index", first(1)), "episodes in order"),
    "frames out of order": (rows(DATA, "frame_index", first(5)), "must count the frames"),
    "a task that is not there": (rows(DATA, "task_index", first(7)), "holds 7; meta/tasks.parquet has 1"),
    "a negative task": (rows(DATA, "task_index", first(-1)), "holds -1; meta/tasks"),
    "tasks as text": (
        rows(DATA, "task_index", lambda v: [str(x) for x in v], pa.string()),
        "whole numbers in every row",
    ),
    "ragged rows": (rows(DATA, "action", ragged, pa.list_(pa.float32())), "must be of one length, got"),
    "rows of text": (rows(DATA, "action", lambda v: [["a"] * 7] * len(v), pa.list_(pa.string())), "must hold numbers"),
    "a row is missing": (rows(DATA, "action", first(None), pa.list_(pa.float32())), "must be of one length"),
    "rows are not finite": (rows(DATA, "action", first([float("nan")] * 7)), "not finite"),
    "a picture is none": (rows(DATA, CAMERA, first({"bytes": b"x", "path": None})), "no readable picture"),
    "a picture is elsewhere": (rows(DATA, CAMERA, first({"bytes": None, "path": "/etc/passwd"})), "files of their own"),
    "no tasks": (remove("meta/tasks.parquet"), "no such file"),
    "tasks are no parquet": (text("meta/tasks.parquet", "x"), "cannot be read"),
    "tasks without numbers": (without("meta/tasks.parquet", "task_index"), "must have the columns"),
    "task numbers are text": (tasks(["0"], ["a"]), "whole numbers"),
    "task numbers are doubled": (tasks([0, 0], ["a", "b"]), "must count from 0"),
    "a task with an escape": (tasks([0], ["push\x1b]0;title\x07"]), "task 0: .*control characters"),
    "a task of two lines": (tasks([0], ["push\nthe block"]), "task 0: .*control characters"),
    "a task without end": (tasks([0], ["push " * 10**5]), "task 0: .*characters"),
    "kinds that are nonsense": (text("meta/vla_ros.json", '{"columns": 5}'), "vla_ros.json: columns"),
    "kinds of other columns": (
        text("meta/vla_ros.json", '{"columns": [{"name": "a", "kind": "gripper"}]}'),
        "other columns",
    ),
    "kinds are a link out": (outside("meta/vla_ros.json"), "leads out of it"),
}
ODD_VIDEOS: dict[str, tuple[Spoil, str]] = {
    "frames are 10^12": (put("total_frames", 10**12), "total_frames must be a whole number"),
    "no episodes": (lambda folder: shutil.rmtree(folder / "meta/episodes"), "holds no meta/episodes"),
    "an episode of 10^12 frames": (rows(EPISODES, "length", first(10**12)), "must tell of 3 episodes"),
    "an episode of no frames": (rows(EPISODES, "length", first(0)), "must tell of 3 episodes"),
    "episodes overlap": (rows(EPISODES, "dataset_from_index", first(3)), "must tell of 3 episodes"),
    "episodes are doubled": (rows(EPISODES, "episode_index", first(1)), "must tell of 3 episodes"),
    "a negative file": (rows(EPISODES, f"videos/{CAMERA}/file_index", first(-1)), "must be 0 to"),
    "a time that is none": (
        rows(EPISODES, f"videos/{CAMERA}/from_timestamp", first(float("nan"))),
        "must hold seconds",
    ),
    "an endless time": (rows(EPISODES, f"videos/{CAMERA}/from_timestamp", first(1e300)), "must hold seconds"),
    "a wrong time": (rows(EPISODES, f"videos/{CAMERA}/from_timestamp", first(1000.0)), "8 of 24 frames"),
    "no video": (remove(VIDEO), "no such file"),
    "a video cut in half": (half(VIDEO), "cannot be read|frames are missing"),
    "a video that is text": (text(VIDEO, "#EXTM3U\nhttp://127.0.0.1:9/x.ts\n"), "cannot be read"),
    "a video is a link out": (outside(VIDEO), "leads out of it"),
    "no path of videos": (put("video_path", None), "video_path is missing"),
    "a path that is a number": (put("video_path", 5), "video_path must be text"),
    "an absolute path": (put("video_path", "/etc/passwd"), "leads out of it"),
    "a path upwards": (put("video_path", "../{video_key}.mp4"), "leads out of it"),
    "a path with an attribute": (put("video_path", "{video_key.__class__}"), "is not understood"),
    "a path with an index": (put("video_path", "{video_key[0]}"), "is not understood"),
    "a path with a conversion": (put("video_path", "{video_key!r}"), "is not understood"),
    "a path of endless width": (put("video_path", "{chunk_index:0999999999d}"), "is not understood"),
    "a path with an unknown name": (put("video_path", "{home}"), "known: video_key, chunk_index, file_index"),
}


@pytest.mark.parametrize("name", [*ODD_TABLES, *ODD_VIDEOS])
def test_an_odd_dataset_is_one_line(sets: dict[str, Path], tmp_path: Path, name: str) -> None:
    kind = "lossless" if name in ODD_TABLES else "video"
    spoil, message = (ODD_TABLES | ODD_VIDEOS)[name]
    refused(spoilt(sets, kind, tmp_path, spoil), message)


@pytest.mark.parametrize("kind", ["lossless", "video"])
def test_statistics_are_not_needed(sets: dict[str, Path], tmp_path: Path, kind: str) -> None:
    folder = spoilt(sets, kind, tmp_path, remove("meta/stats.json"))
    assert len(load_lerobot(folder, 4, Columns()).state) == 24
    (folder / "meta/stats.json").write_text("{")
    assert len(load_lerobot(folder, 4, Columns()).state) == 24


def test_rows_in_any_order_are_sorted(sets: dict[str, Path], tmp_path: Path) -> None:
    def shuffle(folder: Path) -> None:
        table = pq.read_table(folder / DATA)
        pq.write_table(table.take(np.random.default_rng(0).permutation(table.num_rows)), folder / DATA)

    found = load_lerobot(spoilt(sets, "lossless", tmp_path, shuffle), 4, Columns())
    own = load_lerobot(sets["lossless"], 4, Columns())
    for name in ("state", "executed", "plans", "episode", "frame", "task"):
        np.testing.assert_array_equal(getattr(found, name), getattr(own, name))
    np.testing.assert_array_equal(found.images["front"], own.images["front"])


def test_path_patterns_are_filled_in_as_the_format_says() -> None:
    where, values = Path("info.json"), {"video_key": "cam", "chunk_index": 1, "file_index": 1234}
    pattern = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    assert filled(pattern, where, **values) == pattern.format(**values) == "videos/cam/chunk-001/file-1234.mp4"
    assert filled("{chunk_index}/{file_index:d}", where, **values) == "1/1234"
    for bad in ("{video_key:03d}", "{chunk_index:>9}", "{chunk_index", "}", "{{chunk_index}}", "{}", "{0}", "\x1b"):
        with pytest.raises(ConfigError):
            filled(bad, where, **values)


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_older_datasets_name_lerobots_converter(sets: dict[str, Path], tmp_path: Path, version: str) -> None:
    folder = spoilt(sets, "lossless", tmp_path, put("codebase_version", version))
    refused(folder, f"must be v3.0, got '{version}'; convert it .* lerobot.scripts.convert_dataset_v21_to_v30 .*--root")


def test_frames_that_do_not_fit_into_memory_are_said(sets: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vla_ros.datasets.lerobot.pictures.memory_bytes", lambda: 200_000.0)
    refused(sets["lossless"], r"choose a smaller columns\.size")
    assert load_lerobot(sets["lossless"], 4, Columns(size=16)).images["front"].shape == (24, 16, 16, 3)


def test_tables_that_claim_more_than_memory_are_not_read(sets: dict[str, Path], tmp_path: Path) -> None:
    """A table of one value over and over is small, and as large as it likes when it is read."""
    folder = spoilt(sets, "lossless", tmp_path, put("total_frames", 10**8))
    refused(folder, "hold 24 frames, info.json says 100000000|need 10 GB of memory")


def test_depth_is_no_colour(sets: dict[str, Path], tmp_path: Path) -> None:
    def depth(found: dict[str, Any]) -> None:
        about = {**found["features"][CAMERA]["info"], "is_depth_map": True}
        found["features"]["observation.images.depth"] = {**found["features"][CAMERA], "info": about}

    found = load_lerobot(spoilt(sets, "video", tmp_path, info(depth)), 4, Columns())
    assert list(found.images) == ["front"]
