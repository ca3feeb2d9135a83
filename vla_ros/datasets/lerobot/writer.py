"""LeRobotDataset v3.0: parquet tables, one mp4 per camera for many episodes, statistics and tasks.

`observation.state` (D,) measured positions, `action` (D,) commanded positions one step later, `observation.images.NAME`
video (or, lossless, PNG pictures inside the tables), `task` the sentence.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vla_ros.bags.episodes.assembly import Frame
from vla_ros.core.errors import ConfigError
from vla_ros.datasets.formats import Layout
from vla_ros.datasets.lerobot.columns_file import write_columns
from vla_ros.datasets.lerobot.summary import Summary, levels_of, of_pictures, of_rows, together
from vla_ros.media.video import CODEC, PIXELS, VideoFile

CHUNK_SIZE, DATA_MB, VIDEO_MB = 1000, 100, 200
STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
COUNTERS = ("frame_index", "episode_index", "index", "task_index")


def open_writer(out: Path, layout: Layout) -> LeRobotWriter:
    """Return a writer into `out`."""
    return LeRobotWriter(out, layout)


class LeRobotWriter:
    """Writes to a folder beside `out`, and renames it once complete."""

    def __init__(self, out: Path, layout: Layout) -> None:
        self._out, self._layout = out, layout
        out.parent.mkdir(parents=True, exist_ok=True)
        self._root = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        self._keys = {IMAGES + name: name for name in layout.cameras}
        self._videos: dict[str, VideoFile] = {}
        self._video_files = dict.fromkeys(self._keys, -1)
        self._data: pq.ParquetWriter | None = None
        self._data_file = -1
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._summaries: dict[str, list[Summary]] = {}  # of each column, one an episode
        self._rows: list[dict[str, Any]] = []
        self._levels: dict[str, list[Any]] = {}  # of the episode's pictures
        self._begun: dict[str, tuple[int, int]] = {}  # video key -> file and frame in it where the episode begins
        self._number: int | None = None
        self._index = 0

    def add(self, frame: Frame) -> None:
        """Take one frame."""
        if frame.episode != self._number:
            self._end_episode()
            self._begin_episode(frame.episode)
        observation, within = frame.observation, len(self._rows)
        task = self._tasks.setdefault(observation.instruction, len(self._tasks))
        row: dict[str, Any] = {
            STATE: observation.state[-1],
            ACTION: frame.action,
            "timestamp": np.float32(within / self._layout.fps),
            "frame_index": within,
            "episode_index": len(self._episodes),
            "index": self._index,
            "task_index": task,
        }
        for key, name in self._keys.items():
            image = observation.images[name][-1]
            if self._layout.lossless:
                row[key] = {"bytes": _png(image), "path": None}
            else:
                self._videos[key].add(image)
            self._levels[key].append(levels_of(image))
        self._rows.append(row)
        self._index += 1

    def close(self) -> dict[str, Any]:
        """Complete the dataset; return figures about it."""
        self._end_episode()
        if not self._episodes:
            self.abandon()
            raise ConfigError(f"{self._out}: no episode to write; nothing was written")
        for video in self._videos.values():
            video.close()
        if self._data is not None:
            self._data.close()
        self._write_meta()
        self._root.chmod(0o755)
        self._root.rename(self._out)
        return {"episodes": len(self._episodes), "frames": self._index, "tasks": len(self._tasks)}

    def abandon(self) -> None:
        """Leave nothing behind."""
        for file in (self._data, *self._videos.values()):  # they would raise at exit if left open
            with suppress(Exception):
                if file is not None:
                    file.close()
        shutil.rmtree(self._root, ignore_errors=True)

    def _begin_episode(self, number: int) -> None:
        self._number, self._rows, self._levels = number, [], {key: [] for key in self._keys}
        for key, name in self._keys.items() if not self._layout.lossless else ():
            video = self._videos.get(key)
            if video is None or video.size() > VIDEO_MB * 1_000_000:
                if video is not None:
                    video.close()
                self._video_files[key] += 1
                path = self._root / _path(VIDEO_PATH, self._video_files[key], key)
                video = self._videos[key] = VideoFile(path, self._layout.fps, *self._layout.cameras[name])
            self._begun[key] = self._video_files[key], video.frames

    def _end_episode(self) -> None:
        if self._number is None:
            return
        length, fps = len(self._rows), self._layout.fps
        self._write_rows()
        chunk, file = divmod_file(self._data_file)
        episode: dict[str, Any] = {
            "episode_index": len(self._episodes),
            "tasks": _in_order(self._tasks, [row["task_index"] for row in self._rows]),
            "length": length,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": self._index - length,
            "dataset_to_index": self._index,
        }
        for key, (number, first) in self._begun.items():
            chunk, file = divmod_file(number)
            episode |= {
                f"videos/{key}/chunk_index": chunk,
                f"videos/{key}/file_index": file,
                f"videos/{key}/from_timestamp": first / fps,
                f"videos/{key}/to_timestamp": (first + length) / fps,
            }
        for key, summary in self._summarised().items():
            self._summaries.setdefault(key, []).append(summary)
            episode |= {f"stats/{key}/{name}": value for name, value in summary.figures().items()}
        episode |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        self._episodes.append(episode)
        self._number = None

    def _summarised(self) -> dict[str, Summary]:
        """Return the episode's statistics, in LeRobot's order of columns."""
        found = {key: of_rows(np.stack([row[key] for row in self._rows])) for key in (STATE, ACTION)}
        found |= {key: of_pictures(levels) for key, levels in self._levels.items()}
        # LeRobot takes times before they are rounded to float32.
        times = np.arange(len(self._rows), dtype=np.float64) / self._layout.fps
        counted = {name: np.array([row[name] for row in self._rows], dtype=np.float64) for name in COUNTERS}
        return found | {name: of_rows(values[:, None]) for name, values in ({"timestamp": times} | counted).items()}

    def _write_rows(self) -> None:
        path = self._root / _path(DATA_PATH, max(self._data_file, 0))
        if self._data is not None and path.stat().st_size > DATA_MB * 1_000_000:
            self._data.close()
            self._data = None
        if self._data is None:
            self._data_file += 1
            path = self._root / _path(DATA_PATH, self._data_file)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._data = pq.ParquetWriter(path, self._schema())
        columns = {name: [row[name] for row in self._rows] for name in self._schema().names}
        self._data.write_table(pa.table(columns, schema=self._schema()))

    def _schema(self) -> pa.Schema:
        vector = pa.list_(pa.float32(), len(self._layout.joints))
        fields = [(STATE, vector), (ACTION, vector)]
        if self._layout.lossless:
            fields += [(key, pa.struct([("bytes", pa.binary()), ("path", pa.string())])) for key in self._keys]
        return pa.schema([*fields, ("timestamp", pa.float32()), *((name, pa.int64()) for name in COUNTERS)])

    def _write_meta(self) -> None:
        meta = self._root / "meta"
        path = self._root / _path(EPISODES_PATH, 0)
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._episodes), path)
        _write_tasks(meta / "tasks.parquet", self._tasks)
        stats = {key: together(summaries).figures() for key, summaries in self._summaries.items()}
        (meta / "stats.json").write_text(json.dumps(stats, indent=1) + "\n")
        (meta / "info.json").write_text(json.dumps(self._info(), indent=1) + "\n")
        write_columns(self._root, self._layout.columns)

    def _info(self) -> dict[str, Any]:
        lossless, count = self._layout.lossless, len(self._episodes)
        return {
            "codebase_version": "v3.0",
            "robot_type": self._layout.robot,
            "total_episodes": count,
            "total_frames": self._index,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK_SIZE,
            "data_files_size_in_mb": DATA_MB,
            "video_files_size_in_mb": VIDEO_MB,
            "fps": self._layout.fps,
            "splits": {"train": f"0:{count}"},
            "data_path": DATA_PATH,
            "video_path": None if lossless else VIDEO_PATH,
            "features": self._features(),
        }

    def _features(self) -> dict[str, Any]:
        joints = list(self._layout.joints)
        features: dict[str, Any] = {
            key: {"dtype": "float32", "shape": [len(joints)], "names": joints} for key in (STATE, ACTION)
        }
        for key, name in self._keys.items():
            features[key] = self._picture_feature(*self._layout.cameras[name])
        features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
        return features | {name: {"dtype": "int64", "shape": [1], "names": None} for name in COUNTERS}

    def _picture_feature(self, height: int, width: int) -> dict[str, Any]:
        kind = "image" if self._layout.lossless else "video"
        feature = {"dtype": kind, "shape": [height, width, 3], "names": ["height", "width", "channels"]}
        if self._layout.lossless:
            return feature
        video = {
            "video.height": height,
            "video.width": width,
            "video.codec": CODEC.removeprefix("libsvt"),
            "video.pix_fmt": PIXELS,
            "video.fps": self._layout.fps,
            "video.channels": 3,
        }
        return {**feature, "info": {**video, "has_audio": False, "is_depth_map": False}}


def divmod_file(number: int) -> tuple[int, int]:
    """Return the chunk of the n-th file, and its number in it."""
    return divmod(number, CHUNK_SIZE)


def _path(template: str, number: int, video_key: str = "") -> str:
    chunk, file = divmod_file(number)
    return template.format(chunk_index=chunk, file_index=file, video_key=video_key)


def _in_order(tasks: dict[str, int], used: list[int]) -> list[str]:
    sentences = list(tasks)
    return [sentences[index] for index in dict.fromkeys(used)]


def _write_tasks(path: Path, tasks: dict[str, int]) -> None:
    """Write the sentences as the table's index: LeRobot reads it with pandas, which needs this metadata."""
    column = {"field_name": "task_index", "name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    index = {"field_name": "task", "name": "task", "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "pandas_version": "2.0.0",
        "columns": [{**column, "metadata": None}, {**index, "metadata": None}],
    }
    schema = pa.schema([("task_index", pa.int64()), ("task", pa.string())], metadata={"pandas": json.dumps(pandas)})
    pq.write_table(pa.table([list(tasks.values()), list(tasks)], schema=schema), path)


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
