"""Writes rosbag2 bags, split into files, so that a process killed at any moment loses little.

Each file is written in a folder of its own inside the bag and moves up once it is complete; `repair.py` recovers what a
killed process left there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from rosbags.interfaces import Qos
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from vla_ros.bags.reading.definitions import definition_in_bag, definition_of
from vla_ros.bags.reading.errors import BagError

VERSION: Literal[9] = 9  # of metadata.yaml: ROS 2 Kilted's, which `ros2 bag play` accepts
Storage = Literal["mcap", "sqlite3"]


@dataclass(frozen=True, slots=True)
class Format:
    """How a bag is written.

    compress: zstd, of the chunks of MCAP files. split_mb, split_s: a new file after that much data [MB] or time [s];
    0: never.
    """

    storage: Storage = "mcap"
    compress: bool = False
    split_mb: float = 0.0
    split_s: float = 0.0

    def __post_init__(self) -> None:
        if self.storage not in ("mcap", "sqlite3"):
            raise BagError(f"storage must be mcap or sqlite3, got '{self.storage}'")
        if self.compress and self.storage != "mcap":
            raise BagError("compress works with storage mcap only, got sqlite3")


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic to write.

    qos: what its publishers offer. type_hash: RIHS01; empty: as known here. definition: the text of a type that is not
    installed here.
    """

    topic: str
    type: str
    qos: Sequence[Qos] = ()
    type_hash: str = ""
    definition: str = ""

    def described(self) -> tuple[str, str]:
        """Return (definition, hash) of its type. BagError if it is unknown."""
        try:
            return definition_of(self.type)
        except BagError:
            if not self.definition:
                raise
            return definition_in_bag(self.type, self.definition)


class BagWriter:
    """One new bag. Not thread-safe. Close it, or `vla-ros bag repair` has to."""

    def __init__(self, path: Path | str, form: Format | None = None) -> None:
        self.path, self._form = Path(path), form or Format()
        if self.path.exists():
            raise BagError(f"{self.path} exists already; name a new folder")
        self.path.mkdir(parents=True)
        self._channels: dict[tuple[str, str], Channel] = {}
        self._parts: list[dict[str, Any]] = []
        self._first_ns: int | None = None
        self._open_part()

    def add(self, channel: Channel) -> None:
        """Register a topic before its first message; adding it again is harmless."""
        key = channel.topic, channel.type
        if key not in self._channels:
            self._connect(channel)
            self._channels[key] = channel

    def write(self, topic: str, receive_ns: int, data: bytes, kind: str = "") -> None:
        """Write a serialized message of an added topic unchanged. kind: its type, if the topic has several."""
        if self._full(receive_ns):
            self._close_part()
            self._open_part()
        if self._first_ns is None:
            self._first_ns = receive_ns
        self._writer.write(self._connections[topic, kind], receive_ns, data)
        self._bytes += len(data)

    def flush(self) -> None:
        """Make sure that what was written so far survives the end of this process."""
        storage: Any = self._writer.storage
        if self._form.storage == "sqlite3":
            storage.conn.commit()
            return
        if storage.chunk.bio.tell():
            storage.close_chunk()
        storage.bio.flush()

    def close(self) -> None:
        """Complete the bag."""
        self._close_part()

    def abort(self) -> None:
        """Close open files without completing the bag."""
        with suppress(Exception):  # its disk may be full or gone
            self._writer.abort()

    def _full(self, now_ns: int) -> bool:
        form = self._form
        too_long = form.split_s > 0 and self._first_ns is not None and now_ns - self._first_ns >= form.split_s * 1e9
        return too_long or 0 < form.split_mb * 1e6 <= self._bytes

    def _open_part(self) -> None:
        name = f"{self.path.name}_{len(self._parts)}"
        plugin = StoragePlugin.MCAP if self._form.storage == "mcap" else StoragePlugin.SQLITE3
        self._writer = Writer(self.path / name, version=VERSION, storage_plugin=plugin)
        if self._form.compress:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        self._connections: dict[tuple[str, str], Any] = {}
        self._bytes, self._first_ns = 0, None
        for channel in self._channels.values():
            self._connect(channel)

    def _connect(self, channel: Channel) -> None:
        definition, known_hash = channel.described()
        connection = self._writer.add_connection(
            channel.topic,
            channel.type,
            msgdef=definition,
            rihs01=channel.type_hash or known_hash,
            offered_qos_profiles=channel.qos,
        )
        self._connections[channel.topic, channel.type] = connection
        self._connections.setdefault((channel.topic, ""), connection)

    def _close_part(self) -> None:
        self._writer.close()
        folder = self._writer.path
        said = yaml.safe_load((folder / "metadata.yaml").read_text(encoding="utf-8"))
        self._parts.append(said["rosbag2_bagfile_information"])
        for name in self._parts[-1]["relative_file_paths"]:
            (folder / name).rename(self.path / name)
        shutil.rmtree(folder)
        write_metadata(self.path, self._parts)


def write_metadata(path: Path, parts: Sequence[dict[str, Any]]) -> None:
    """Write metadata.yaml of a bag from those of its files."""
    merged = dict(parts[-1])
    filled = [part for part in parts if part["message_count"]] or list(parts[-1:])
    starts = [part["starting_time"]["nanoseconds_since_epoch"] for part in filled]
    ends = [start + part["duration"]["nanoseconds"] for start, part in zip(starts, filled, strict=True)]
    counts: dict[tuple[str, str], int] = {}
    for part in parts:
        for topic in part["topics_with_message_count"]:
            key = _key(topic)
            counts[key] = counts.get(key, 0) + topic["message_count"]
    merged |= {
        "relative_file_paths": [name for part in parts for name in part["relative_file_paths"]],
        "files": [file for part in parts for file in part["files"]],
        "message_count": sum(part["message_count"] for part in parts),
        "starting_time": {"nanoseconds_since_epoch": min(starts)},
        "duration": {"nanoseconds": max(ends) - min(starts)},
        "topics_with_message_count": [
            topic | {"message_count": counts[_key(topic)]} for topic in merged["topics_with_message_count"]
        ],
    }
    text = yaml.safe_dump({"rosbag2_bagfile_information": merged}, sort_keys=False)
    written = path / "metadata.yaml.new"
    written.write_text(text, encoding="utf-8")
    written.rename(path / "metadata.yaml")


def _key(topic: dict[str, Any]) -> tuple[str, str]:
    return topic["topic_metadata"]["name"], topic["topic_metadata"]["type"]


def fresh_path(parent: Path | str) -> Path:
    """Return a new bag's path in a folder, named after the time as `ros2 bag record` does."""
    return Path(parent) / time.strftime("rosbag2_%Y_%m_%d-%H_%M_%S")
