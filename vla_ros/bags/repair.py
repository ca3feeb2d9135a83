"""Brings back what a killed recorder or a damaged disk left of a bag: every message up to the first broken byte."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mcap.exceptions import McapError
from mcap.records import Channel as McapChannel
from mcap.records import Message, Schema
from mcap.stream_reader import StreamReader
from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos

from vla_ros.bags.reader import STORAGES, BagError, Recorded
from vla_ros.bags.writer import BagWriter, Channel, Format

DAMAGED = ".damaged"
Salvaged = tuple[Recorded, str]  # a message, and the YAML of what its topic's publishers offered


@dataclass(frozen=True, slots=True)
class Repaired:
    """path: the whole bag. messages: how many it holds. damaged: where the old one lies now."""

    path: Path
    messages: int
    damaged: Path


def repair(path: Path | str) -> Repaired:
    """Rewrite a bag, a folder or a lone file, from whatever can be read of it. The old one is kept beside it."""
    path = Path(path)
    files = _files(path)
    if not files:
        raise BagError(
            f"{path}: nothing to repair; right would be a bag's folder, or a file that ends with .mcap or .db3"
        )
    target = path if path.is_dir() else path.with_suffix("")
    written = target.with_name(f"{target.name}.repaired")
    storage = "mcap" if files[0].suffix == ".mcap" else "sqlite3"
    writer, count = BagWriter(written, Format(storage)), 0  # type: ignore[arg-type]
    for file in files:
        for recorded, offered in SALVAGE[file.suffix](file):
            writer.add(Channel(recorded.topic, recorded.type, _profiles(offered)))
            writer.write(recorded.topic, recorded.receive_ns, recorded.data)
            count += 1
    writer.close()
    damaged = path.with_name(path.name + DAMAGED)
    if damaged.exists():
        raise BagError(f"{damaged} exists already; the repaired bag is {written}")
    path.rename(damaged)
    for file in (written / "metadata.yaml", *written.iterdir()):
        _rename_inside(file, written.name, target.name)
    written.rename(target)
    return Repaired(target, count, damaged)


def _rename_inside(file: Path, old: str, new: str) -> None:
    if file.name == "metadata.yaml":
        file.write_text(file.read_text(encoding="utf-8").replace(f"{old}_", f"{new}_"), encoding="utf-8")
    else:
        file.rename(file.with_name(file.name.replace(old, new)))


def _files(path: Path) -> list[Path]:
    """The storage files, those of parts that were never completed last."""
    if path.is_file():
        return [path] if path.suffix in STORAGES else []
    if not path.is_dir():
        return []
    return sorted((file for file in path.rglob("*") if file.suffix in STORAGES), key=lambda f: (len(f.parts), f.name))


@lru_cache
def _profiles(offered: str) -> tuple[Qos, ...]:
    """A replay needs them: without, an instruction that was latched is heard by nobody who comes later."""
    try:
        return tuple(parse_qos(offered))
    except Exception:  # damaged, too: the messages are worth more
        return ()


def _salvage_mcap(path: Path) -> Iterator[Salvaged]:
    schemas: dict[int, Schema] = {}
    channels: dict[int, McapChannel] = {}
    with path.open("rb") as stream:
        try:
            for record in StreamReader(stream).records:
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, McapChannel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    channel = channels[record.channel_id]
                    recorded = Recorded(channel.topic, schemas[channel.schema_id].name, record.log_time, record.data)
                    yield recorded, channel.metadata.get("offered_qos_profiles", "")
        except (McapError, EOFError, KeyError, ValueError, OSError):
            return  # from here on nothing can be read


def _salvage_sqlite3(path: Path) -> Iterator[Salvaged]:
    query = "SELECT name, type, timestamp, data FROM messages JOIN topics ON topic_id = topics.id ORDER BY messages.id"
    with closing(sqlite3.connect(path)) as database:  # a journal that was left beside it is rolled back by this
        offered = _offered(database)
        try:
            for topic, kind, receive_ns, data in database.execute(query):
                yield Recorded(topic, kind, receive_ns, data), offered.get(topic, "")
        except sqlite3.DatabaseError:
            return


def _offered(database: sqlite3.Connection) -> dict[str, str]:
    """By topic; nothing where that is damaged, or where the bag is older than the column."""
    try:
        return dict(database.execute("SELECT name, offered_qos_profiles FROM topics"))
    except sqlite3.DatabaseError:
        return {}


SALVAGE: dict[str, Callable[[Path], Iterator[Salvaged]]] = {".mcap": _salvage_mcap, ".db3": _salvage_sqlite3}
