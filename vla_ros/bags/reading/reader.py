"""Reads rosbag2 bags of any origin: folders with or without metadata.yaml, single files, packed or not.

Messages are left as recorded: bytes, in the order of their receive times. `decode` makes messages of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection, ConnectionExtRosbag2, QosDurability, QosReliability
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.storage_mcap import McapReader

from vla_ros.bags.reading.databases import check_database
from vla_ros.bags.reading.errors import BagError
from vla_ros.bags.reading.files import EXPECTED, STORAGES, not_regular, plain_file, storage_files, storage_suffix
from vla_ros.bags.reading.metadata import compression
from vla_ros.bags.reading.rosbags_limits import check_chunks
from vla_ros.bags.reading.unpacking import plain_message
from vla_ros.core.errors import MessageError
from vla_ros.core.printable import printable

__all__ = ["CDR", "Bag", "BagError", "Recorded", "Topic", "decode", "open_bag", "split_topics"]

CDR = "cdr"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of a bag. reliable, latched: what its publishers offered."""

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

    def __init__(self, path: Path, files: list[Path]) -> None:
        self.path = path
        self._files = files
        self._readers: list[Reader] = []
        self._stack = ExitStack()

    def __enter__(self) -> Bag:
        try:
            self._readers = [self._stack.enter_context(_opened(file)) for file in self._files]
            self.topics = _topics(connection for reader in self._readers for connection in reader.connections)
        except Exception as error:
            self._stack.close()
            raise _unreadable(self.path, error) from error
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
        """The number of messages."""
        return sum(topic.count for topic in self.topics)

    @property
    def storage(self) -> str:
        """The storage of its files: mcap, sqlite3, or empty for an empty folder."""
        return next((STORAGES[storage_suffix(file)] for file in self._files), "")

    def messages(
        self, topics: Iterable[str] | None = None, start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[Recorded]:
        """Yield the messages of some topics, all by default, in [start_ns, end_ns), by receive time."""
        wanted = None if topics is None else set(topics)
        streams = [self._of(reader, wanted, start_ns, end_ns) for reader in self._readers]
        yield from heapq.merge(*streams, key=lambda recorded: recorded.receive_ns)

    def _of(
        self, reader: Reader, wanted: set[str] | None, start_ns: int | None, end_ns: int | None
    ) -> Generator[Recorded, None, None]:
        connections = [one for one in reader.connections if wanted is None or one.topic in wanted]
        if not connections:
            return  # rosbags takes an empty choice for all topics
        for one in connections:
            if (said := _serialization(one)) != CDR:
                raise BagError(
                    f"{self.path}: {printable(one.topic)} is serialized as '{printable(said, 40)}'; "
                    f"only '{CDR}' can be read"
                )
        try:
            for connection, receive_ns, data in reader.messages(connections, start_ns, end_ns):
                if type(receive_ns) is not int or type(data) is not bytes:
                    raise BagError(f"{printable(connection.topic)}: a message, or its time, is of another kind")
                yield Recorded(connection.topic, connection.msgtype, receive_ns, plain_message(data))
        except Exception as error:
            raise _unreadable(self.path, error) from error


def open_bag(path: Path | str) -> Bag:
    """Open a bag as a context manager. Raise BagError if it cannot be read."""
    path = Path(path)
    try:
        if not path.exists():
            raise BagError(f"{path}: no such bag")
        # File by file: rosbags trusts metadata.yaml, and finds no messages where it and the files differ about QoS.
        files = storage_files(path)
        if not files and storage_files(path, deep=True):
            raise BagError(f"{path}: its recording was never completed; complete it with `vla-ros bag repair {path}`")
        if not files:
            raise BagError(not_regular(path) or f"{path}: no bag; expected {EXPECTED}")
        mode, form = compression(path)
    except OSError as error:
        raise BagError(f"{path}: cannot be read: {error.strerror}") from error
    if mode == "message" and form not in ("zstd", "lz4"):
        raise BagError(f"{path}: its messages are compressed with '{printable(form)}'; only zstd and lz4 can be read")
    return Bag(path, files)


def decode(recorded: Recorded) -> Any:
    """Return the message as a subscriber gets it. BagError for a type not installed here, or data of another type."""
    from vla_ros.ros.convert import deserialize  # only here: a bag is listed and copied without ROS

    try:
        return deserialize(recorded.data, recorded.type)
    except MessageError as error:
        raise BagError(f"{printable(recorded.topic)}: {error}") from error


def split_topics(topics: Iterable[Topic]) -> dict[str, tuple[str, ...]]:
    """Return the types of every topic that has several, which no live topic can have."""
    found: dict[str, set[str]] = {}
    for topic in topics:
        found.setdefault(topic.name, set()).add(topic.type)
    return {name: tuple(sorted(types)) for name, types in found.items() if len(types) > 1}


@contextmanager
def _opened(file: Path) -> Iterator[Reader]:
    """Return a reader of one file, after checking the file."""
    with plain_file(file) as plain:
        if plain.suffix == ".db3":
            check_database(plain)
        with Reader(plain) as reader:
            if isinstance(reader.storage, McapReader):
                check_chunks(reader.storage, plain.stat().st_size)
            yield reader


def _topics(connections: Iterable[Connection]) -> tuple[Topic, ...]:
    """Return one entry per topic and type, however many files and publishers it came from."""
    found: dict[tuple[str, str], Topic] = {}
    for one in connections:
        if not (one.topic and isinstance(one.topic, str) and isinstance(one.msgtype, str)):
            raise BagError("a topic has no name or no type")
        before = found.get((one.topic, one.msgtype))
        count = one.msgcount + (before.count if before else 0)
        found[one.topic, one.msgtype] = Topic(one.topic, one.msgtype, count, _serialization(one), *_offered(one))
    return tuple(sorted(found.values(), key=lambda topic: (topic.name, topic.type)))


def _serialization(connection: Connection) -> str:
    return connection.ext.serialization_format if isinstance(connection.ext, ConnectionExtRosbag2) else CDR


def _offered(connection: Connection) -> tuple[bool, bool]:
    profiles = connection.ext.offered_qos_profiles if isinstance(connection.ext, ConnectionExtRosbag2) else []
    reliable = all(profile.reliability != QosReliability.BEST_EFFORT for profile in profiles)
    return reliable, any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in profiles)


def _unreadable(path: Path, error: Exception) -> BagError:
    """Put what other errors say in one line. A BagError of this bag says it already."""
    said = printable(str(error) or type(error).__name__, 300)
    if isinstance(error, BagError) and said.startswith(f"{path}: "):
        return error
    if isinstance(error, KeyError):  # rosbags raises it for another system's schema
        return BagError(f"{path}: its messages are described in {said}; only 'ros2msg' and 'ros2idl' can be read")
    return BagError(f"{path}: cannot be read: {said.rstrip('.')}. `vla-ros bag repair {path}` saves what is left of it")
