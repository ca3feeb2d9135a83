"""Recovers what a killed recorder or a damaged disk left of a bag, and says what is lost.

The damaged bag is only read. The repaired one is written in a folder beside it that takes its place once it is whole;
if that fails, nothing has changed.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rosbags.interfaces import Qos
from rosbags.rosbag2 import ReaderError, WriterError

from vla_ros.bags.reading.errors import BagError
from vla_ros.bags.reading.files import EXPECTED, PACKED, STORAGES, not_regular, storage_files, storage_suffix
from vla_ros.bags.reading.metadata import compression
from vla_ros.bags.reading.reader import CDR
from vla_ros.bags.reading.rosbags_limits import bounded_qos
from vla_ros.bags.reading.unpacking import plain_message, unpack_file
from vla_ros.bags.salvage.mcap import salvage_mcap
from vla_ros.bags.salvage.parts import DamagedTopic, Found, Losses
from vla_ros.bags.salvage.sqlite3 import salvage_sqlite3
from vla_ros.bags.writer import BagWriter, Channel, Format
from vla_ros.core.printable import printable

DAMAGED = ".damaged"
_FAILURES = (OSError, MemoryError, OverflowError, sqlite3.Error, ReaderError, WriterError)


@dataclass(frozen=True, slots=True)
class Repaired:
    """path: the repaired bag. messages: their number. damaged: where the damaged bag is now. lost: what is missing."""

    path: Path
    messages: int
    damaged: Path
    lost: tuple[str, ...] = ()


def repair(path: Path | str, keep_doubtful: bool = False) -> Repaired:
    """Rewrite a bag, a folder or a single file, from whatever can be read. The old one is kept beside it.

    keep_doubtful: also keep messages in chunks whose checksum is wrong or that break off.
    """
    path = Path(os.path.abspath(path))
    try:
        return _repair(path, keep_doubtful)
    except _FAILURES as error:
        said = printable(str(error) or type(error).__name__, 300)
        raise BagError(f"{path}: cannot be repaired: {said}; it is as it was") from error


def _repair(path: Path, keep_doubtful: bool) -> Repaired:
    files = storage_files(path, deep=True)
    if not files:
        raise BagError(not_regular(path) or f"{path}: nothing to repair; expected {EXPECTED}")
    target, damaged = _target(path), path.with_name(path.name + DAMAGED)
    for taken in (damaged, *([target] if target != path else [])):
        if os.path.lexists(taken):
            raise BagError(f"{taken} exists already; move it away, then repair {path.name} again")
    mode, form = compression(path)
    if mode == "message" and form not in ("zstd", "lz4"):
        raise BagError(f"{path}: its messages are compressed with '{printable(form)}'; only zstd and lz4 can be read")
    with tempfile.TemporaryDirectory(prefix=f".{target.name[:40]}.repair_", dir=path.parent) as folder:
        work = Path(folder)
        rewriting = _Rewriting(work / target.name, STORAGES[storage_suffix(files[0])], keep_doubtful)
        rewriting.write(files, work)
        if not rewriting.messages and rewriting.losses.lines:
            raise BagError(f"{path}: nothing in it can be saved: {'; '.join(rewriting.losses.lines)}; it is as it was")
        _take_place(path, damaged, work / target.name, target)
    return Repaired(target, rewriting.messages, damaged, rewriting.losses.lines)


def _target(path: Path) -> Path:
    """Return where the repaired bag goes: a folder, also for a single file."""
    if path.is_dir():
        return path
    return path.with_name(path.name.removesuffix(PACKED)).with_suffix("")


def _take_place(path: Path, damaged: Path, written: Path, target: Path) -> None:
    path.rename(damaged)
    try:
        written.rename(target)
    except OSError:
        damaged.rename(path)
        raise


class _Rewriting:
    """The new bag while it is written, and what it leaves out."""

    def __init__(self, path: Path, storage: str, keep_doubtful: bool) -> None:
        self.losses = Losses(kept_doubtful=keep_doubtful)
        self.messages = 0
        self._keep_doubtful = keep_doubtful
        self._writer = BagWriter(path, Format(storage))  # type: ignore[arg-type]
        self._refusals: dict[DamagedTopic, str] = {}

    def write(self, files: list[Path], work: Path) -> None:
        """Write everything, and complete the bag."""
        try:
            for file in files:
                for found in self._salvaged(file, work):
                    self._take(found)
            self._writer.close()
        except BaseException:
            self._writer.abort()
            raise

    def _salvaged(self, file: Path, work: Path) -> Iterator[Found]:
        with _unpacked(file, work, self.losses) as plain:
            if plain.suffix == ".mcap":
                yield from salvage_mcap(plain, self.losses, self._keep_doubtful)
            else:
                yield from salvage_sqlite3(plain, self.losses, work)

    def _take(self, found: Found) -> None:
        source = found.source
        if source not in self._refusals:
            self._refusals[source] = self._refusal(source)
        if self._refusals[source]:
            self.losses.add(self._refusals[source])
            return
        try:
            data = plain_message(found.data)
        except BagError as error:
            self.losses.add(f"packed message(s) of {printable(source.topic, 100)} are left out: {error}")
            return
        self._writer.write(source.topic, found.receive_ns, data, source.type)
        self.messages += 1

    def _refusal(self, source: DamagedTopic) -> str:
        """Return why the messages of a topic are left out; empty if they are taken."""
        topic = printable(source.topic, 100)
        if source.serialization != CDR:
            return (
                f"message(s) of {topic} are left out: they are serialized as '{printable(source.serialization, 40)}', "
                f"and only '{CDR}' can be written"
            )
        try:
            self._writer.add(Channel(source.topic, source.type, _profiles(source.qos), definition=source.definition))
        except BagError as error:
            return f"message(s) of {topic} are left out: {error}"
        return ""


@contextmanager
def _unpacked(file: Path, work: Path, losses: Losses) -> Iterator[Path]:
    """Yield a file that rosbag2 packed as a whole, unpacked as far as possible."""
    if file.suffix != PACKED:
        yield file
        return
    plain = work / f"plain{storage_suffix(file)}"
    problem = unpack_file(file, plain, partly=True)
    if problem:
        losses.add(f"packed file(s) damaged ({problem})")
    try:
        yield plain
    finally:
        plain.unlink()


@lru_cache
def _profiles(offered: str) -> tuple[Qos, ...]:
    """Return what a replay needs: without it, late subscribers never receive a latched instruction."""
    try:
        return tuple(bounded_qos(offered))
    except Exception:  # damaged too, but the messages are worth more
        return ()
