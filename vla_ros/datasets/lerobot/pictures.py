"""Images of a LeRobotDataset, from its tables or its videos."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from vla_ros.core.errors import ConfigError
from vla_ros.core.streams.image_fit import fitted
from vla_ros.datasets.lerobot.info_file import Info
from vla_ros.datasets.lerobot.tables import integers, memory_bytes, read_tables

Frames = NDArray[np.uint8]
COLOURS = ("RGB", "RGBA", "L", "P")  # Pillow's modes that become RGB without loss; of 16 bits only the highest remain
MAX_NUMBER = 1_000_000  # of a chunk or file
MAX_S = 10_000_000.0


class Album:
    """Collects the frames of one camera by row; all have one size."""

    def __init__(self, where: str, count: int, size: int) -> None:
        self._where, self._size = where, size
        self._frames: Frames | None = None
        self._seen = np.zeros(count, np.bool_)

    def put(self, row: int, picture: Image.Image) -> None:
        """Take one picture, stretched to `size` as nodes do it live, unless that is 0."""
        frame = np.asarray(picture)
        if self._size:
            frame = fitted(frame, self._size, self._size, "stretch")
        if self._frames is None:
            self._frames = self._room(frame.shape)
        if frame.shape != self._frames.shape[1:]:
            raise ConfigError(
                f"{self._where}: frame {row} is {frame.shape[1]}x{frame.shape[0]}, those before are "
                f"{self._frames.shape[2]}x{self._frames.shape[1]}; all must be of one size, or columns.size be given"
            )
        self._frames[row], self._seen[row] = frame, True

    def whole(self) -> Frames:
        """Return (N, H, W, 3); ConfigError if a frame is missing."""
        if self._frames is None or not self._seen.all():
            raise ConfigError(f"{self._where}: {int((~self._seen).sum())} of {len(self._seen)} frames are missing")
        return self._frames

    def _room(self, shape: tuple[int, ...]) -> Frames:
        whole = (len(self._seen), *shape)
        needed, there = float(np.prod(whole, dtype=np.float64)), memory_bytes()
        try:
            if needed > there:
                raise MemoryError
            return np.zeros(whole, np.uint8)
        except MemoryError:
            raise ConfigError(
                f"{self._where}: its frames need {needed / 1e9:.1f} GB of memory, this machine has {there / 1e9:.1f}; "
                "choose a smaller columns.size"
            ) from None


def from_table(info: Info, key: str, column: Any, size: int) -> Frames:
    """Return (N, H, W, 3): the pictures stored in the tables themselves."""
    where = f"{info.folder}: '{key}'"
    if not pa.types.is_struct(column.type) or column.type.get_field_index("bytes") < 0:
        raise ConfigError(f"{where} must be pictures in the table, a struct with 'bytes', got {column.type}")
    album = Album(where, len(column), size)
    for row, value in enumerate(column):
        album.put(row, _opened(f"{where}: frame {row}", value.as_py()))
    return album.whole()


def _opened(where: str, value: dict[str, Any] | None) -> Image.Image:
    content = (value or {}).get("bytes")
    if not isinstance(content, bytes):
        raise ConfigError(f"{where} is not in the table; pictures in files of their own are not read")
    try:
        picture = Image.open(io.BytesIO(content))
        if picture.mode not in COLOURS:
            raise ConfigError(f"{where} must have mode {', '.join(COLOURS)}, got {picture.format} of {picture.mode}")
        return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError):
        raise ConfigError(f"{where} is no readable picture") from None


@dataclass(frozen=True, slots=True)
class VideoStretch:
    """An episode in a video: its first frame there, its first row, its length."""

    start: int
    row: int
    length: int


def from_videos(info: Info, key: str, size: int) -> Frames:
    """Return (N, H, W, 3): the frames of all episodes, in order."""
    album = Album(f"{info.folder}: the video of '{key}'", info.frames, size)
    for path, stretches in places(info, key).items():
        rows = {s.start + k: s.row + k for s in stretches for k in range(s.length)}
        for number, picture in _decoded(path, info.fps):
            if number in rows:
                album.put(rows[number], picture)
    return album.whole()


def places(info: Info, key: str) -> dict[Path, list[VideoStretch]]:
    """Return which file holds which episodes where, according to meta/episodes."""
    folder, own = info.folder, f"videos/{key}/"
    names = ["episode_index", "dataset_from_index", "length", own + "chunk_index", own + "file_index"]
    table = read_tables(folder, "meta/episodes", [*names, own + "from_timestamp"], info.episodes, "episodes")
    episode, first, length, chunk, file = (integers(folder, table, name) for name in names)
    order = np.argsort(episode, kind="stable")
    ends = np.cumsum(length[order])
    whole = np.array_equal(episode[order], np.arange(info.episodes)) and length.min() > 0 and ends[-1] == info.frames
    if not whole or not np.array_equal(first[order], ends - length[order]):
        raise ConfigError(
            f"{folder}/meta/episodes: must tell of {info.episodes} episodes that lie one behind the other and have "
            f"{info.frames} frames in all"
        )
    start = _seconds(folder, table, own + "from_timestamp")
    if not (0 <= min(chunk.min(), file.min()) <= max(chunk.max(), file.max()) <= MAX_NUMBER):
        raise ConfigError(f"{folder}/meta/episodes: numbers of '{key}' must be 0 to {MAX_NUMBER}")
    found: dict[Path, list[VideoStretch]] = {}
    for k in order.tolist():
        path = info.video_file(key, int(chunk[k]), int(file[k]))
        found.setdefault(path, []).append(VideoStretch(round(start[k] * info.fps), int(first[k]), int(length[k])))
    return found


def _seconds(folder: Path, table: pa.Table, name: str) -> NDArray[np.float64]:
    column = table[name]
    found = np.full(1, np.nan)
    if (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)) and not column.null_count:
        found = column.to_numpy().astype(np.float64)
    if not ((found >= 0) & (found <= MAX_S)).all():
        raise ConfigError(f"{folder}/meta/episodes: column '{name}' must hold seconds from 0 to {MAX_S:.0f}")
    return found


def _decoded(path: Path, fps: int) -> Iterator[tuple[int, Image.Image]]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        with av.open(str(path), format="mp4") as container:
            if not container.streams.video:
                raise ConfigError(f"{path}: holds no video")
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(video=0):
                yield round(float(frame.time or 0) * fps), Image.fromarray(frame.to_ndarray(format="rgb24"))
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from None
