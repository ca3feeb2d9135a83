"""Reads rosbag2 bags of any origin: folders with or without metadata.yaml, lone .mcap and .db3 files.

What is read is left as it was recorded: bytes, in the order of their receive times. `decode` makes messages of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from rosbags.interfaces import Connection, ConnectionExtRosbag2, QosDurability, QosReliability
from rosbags.rosbag2 import Reader

from vla_ros.core.errors import MessageError, VlaRosError

STORAGES = {".mcap": "mcap", ".db3": "sqlite3"}
CDR = "cdr"


class BagError(VlaRosError):
    """A bag, or a message in it, that cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of a bag.

    reliable, latched: what its publishers offered.
    """

    name: str
    type: str
    count: int
    serialization: str = CDR
    reliable: bool = True
    latched: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message as it was received [ns], untouched."""

    topic: str
    type: str
    receive_ns: int
    data: bytes


class Bag:
    """An open bag; a context manager. Made by `open_bag`."""

    def __init__(self, path: Path, readers: list[Reader]) -> None:
        self.path = path
        self._readers = readers
        self._stack = ExitStack()

    def __enter__(self) -> Bag:
        try:
            for reader in self._readers:
                self._stack.enter_context(reader)
        except Exception as error:
            self._stack.close()
            raise _unreadable(self.path, error) from error
        self.topics = _topics(connection for reader in self._readers for connection in reader.connections)
        filled = [reader for reader in self._readers if reader.message_count]
        self.start_ns = min((reader.start_time for reader in filled), default=0)
        self.end_ns = max((reader.end_time for reader in filled), default=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def duration_s(self) -> float:
        """From the first message to the last [s]."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def count(self) -> int:
        """How many messages it holds."""
        return sum(topic.count for topic in self.topics)

    @property
    def storage(self) -> str:
        """The storage of its files: mcap, sqlite3, or nothing for an empty folder."""
        return next((STORAGES[file.suffix] for file in _files(self.path) if file.suffix in STORAGES), "")

    def messages(
        self, topics: Iterable[str] | None = None, start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[Recorded]:
        """The messages of some topics, all by default, in [start_ns, end_ns), by receive time."""
        wanted = None if topics is None else set(topics)
        streams = [self._of(reader, wanted, start_ns, end_ns) for reader in self._readers]
        yield from heapq.merge(*streams, key=lambda recorded: recorded.receive_ns)

    def _of(
        self, reader: Reader, wanted: set[str] | None, start_ns: int | None, end_ns: int | None
    ) -> Generator[Recorded, None, None]:
        connections = [one for one in reader.connections if wanted is None or one.topic in wanted]
        if not connections:
            return  # rosbags would take an empty choice for all of them
        for one in connections:
            if (said := _serialization(one)) != CDR:
                raise BagError(f"{self.path}: {one.topic} is serialized as '{said}'; only '{CDR}' can be read")
        try:
            for connection, receive_ns, data in reader.messages(connections, start_ns, end_ns):
                yield Recorded(connection.topic, connection.msgtype, receive_ns, bytes(data))
        except Exception as error:
            raise _unreadable(self.path, error) from error


def open_bag(path: Path | str) -> Bag:
    """A bag to read: `with open_bag(path) as bag`. BagError says what is wrong with it."""
    path = Path(path)
    if not path.exists():
        raise BagError(f"{path}: there is no such bag")
    if _compressed(path):
        return Bag(path, [Reader(path)])
    # File by file: rosbags trusts metadata.yaml, and finds no messages where it and the files tell the QoS differently.
    files = _files(path)
    if not files:
        raise BagError(f"{path}: no bag; right would be a rosbag2 folder, or a file that ends with .mcap or .db3")
    return Bag(path, [Reader(file) for file in files])


def decode(recorded: Recorded) -> Any:
    """The message, as a subscriber would get it. BagError for a type that is not installed, or data of another type."""
    from vla_ros.ros.convert import deserialize  # only here: a bag is listed and copied without ROS

    try:
        return deserialize(recorded.data, recorded.type)
    except MessageError as error:
        raise BagError(f"{recorded.topic}: {error}") from error


def _compressed(path: Path) -> bool:
    """Whether files or messages were compressed by rosbag2 itself, which only metadata.yaml tells."""
    metadata = path / "metadata.yaml"
    if not metadata.is_file():
        return False
    try:
        said = yaml.safe_load(metadata.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        return str(said.get("compression_mode") or "none").lower() != "none"
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise _unreadable(metadata, error) from error


def _files(path: Path) -> list[Path]:
    return sorted(file for file in ([path] if path.is_file() else path.iterdir()) if file.suffix in STORAGES)


def _topics(connections: Iterable[Connection]) -> tuple[Topic, ...]:
    """One entry a topic and type, however many files and publishers it came from."""
    found: dict[tuple[str, str], Topic] = {}
    for one in connections:
        before = found.get((one.topic, one.msgtype))
        count = one.msgcount + (before.count if before else 0)
        found[one.topic, one.msgtype] = Topic(one.topic, one.msgtype, count, _serialization(one), *_offered(one))
    return tuple(sorted(found.values(), key=lambda topic: topic.name))


def _serialization(connection: Connection) -> str:
    return connection.ext.serialization_format if isinstance(connection.ext, ConnectionExtRosbag2) else CDR


def _offered(connection: Connection) -> tuple[bool, bool]:
    profiles = connection.ext.offered_qos_profiles if isinstance(connection.ext, ConnectionExtRosbag2) else []
    reliable = all(profile.reliability != QosReliability.BEST_EFFORT for profile in profiles)
    return reliable, any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in profiles)


def _unreadable(path: Path, error: Exception) -> BagError:
    said = str(error) or type(error).__name__
    return BagError(f"{path}: cannot be read: {said.rstrip('.')}. `vla-ros bag repair {path}` saves what is left of it")
