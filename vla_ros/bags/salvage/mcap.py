"""Every recognisable message of a damaged MCAP file, also behind a broken chunk or record.

A chunk whose checksum is wrong still unpacks to something that looks like messages; those are doubtful.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader

from vla_ros.bags.reading.unpacking import memory_limit, unpack_what_can_be
from vla_ros.bags.salvage.parts import DamagedTopic, Found, Losses
from vla_ros.core.printable import printable

_MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")  # of a record: its kind, its length
_CHUNK = struct.Struct("<QQQII")  # start, end, unpacked size, checksum, length of the compression's name
_FOOTER_BYTES = _HEAD.size + 20 + len(_MAGIC)
LARGEST = 512_000_000  # bytes of a record that is read into memory
_KNOWN = {int(opcode) for opcode in Opcode}
_PRIVATE = 0x80  # records of others begin here
_WRONG = (McapError, struct.error, ValueError, KeyError, EOFError)
# A chunk: kind, length, two times, size, checksum, and a compression that somebody uses.
_CHUNK_START = re.compile(rb"\x06.{36}(?:\x00\x00\x00\x00|\x03\x00\x00\x00lz4|\x04\x00\x00\x00zstd)", re.DOTALL)


def salvage_mcap(path: Path, losses: Losses, keep_doubtful: bool) -> Iterator[Found]:
    """Yield the messages of a file, in its order."""
    if path.stat().st_size <= len(_MAGIC):
        losses.add("empty file(s)")
        return
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        file = _File(view, losses, keep_doubtful)
        file.learn_from_end()
        yield from file.messages()


@dataclass
class _File:
    """One file and what is known of its topics so far."""

    view: mmap.mmap
    losses: Losses
    keep_doubtful: bool
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    sources: dict[int, DamagedTopic | None] = field(default_factory=dict)

    def learn_from_end(self) -> None:
        """Learn topics from the summary, which repeats them: the chunk that introduced one may be broken."""
        size = len(self.view)
        if size < _FOOTER_BYTES or self.view[-len(_MAGIC) :] != _MAGIC:
            return
        opcode, _, start = struct.unpack_from("<BQQ", self.view, size - _FOOTER_BYTES)
        if opcode != Opcode.FOOTER or not 0 < start < size:
            return
        for kind, begin, end in _records(self.view, start):
            if kind in (Opcode.SCHEMA, Opcode.CHANNEL):
                for record in self._parsed(self.view[begin - _HEAD.size : end]):
                    self._learn(record, sure=False)

    def messages(self) -> Iterator[Found]:
        """Yield everything up to the summary, past what is broken."""
        place = len(_MAGIC) if self.view[: len(_MAGIC)] == _MAGIC else 0
        while True:
            for kind, begin, end in _records(self.view, place):
                place = end
                if kind in (Opcode.DATA_END, Opcode.FOOTER):
                    return
                if end - begin > LARGEST:
                    self.losses.add(f"record(s) larger than {LARGEST} bytes")
                elif kind == Opcode.CHUNK:
                    yield from self._of_chunk(self.view[begin:end], cut=False)
                elif kind in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE):
                    yield from self._of_records(self.view[begin - _HEAD.size : end])
            if place >= len(self.view):
                return
            following = _next_chunk(self.view, place)
            if following is None:
                yield from self._of_rest(place)
                return
            self.losses.add("stretch(es) of the file between its records that cannot be read")
            place = following

    def _of_rest(self, place: int) -> Iterator[Found]:
        """Yield messages of the last record, which a file cut off while being written ends in."""
        if self.view[place] == Opcode.CHUNK and place + _HEAD.size < len(self.view):
            yield from self._of_chunk(self.view[place + _HEAD.size :], cut=True)
        else:
            self.losses.add("file end(s) that cannot be read")

    def _of_records(self, data: bytes) -> Iterator[Found]:
        for record in self._parsed(data):
            found = self._taken(record, sure=True)
            if found is not None:
                yield found

    def _of_chunk(self, body: bytes, cut: bool) -> Iterator[Found]:
        try:
            data, problem = _unpacked(body)
        except (struct.error, UnicodeDecodeError, ValueError):
            data, problem = b"", "its header is broken"
        if not problem and not cut:
            yield from self._of_records(data)
            return
        records = list(self._parsed(data, tell=False))
        held = sum(isinstance(record, Message) for record in records)
        self.losses.doubtful += held
        self.losses.add(f"chunk(s) damaged ({printable(problem or 'the file ends within it', 120)})")
        for record in records:
            found = self._taken(record, sure=False)
            if found is not None and self.keep_doubtful:
                yield found

    def _parsed(self, data: bytes, tell: bool = True) -> Iterator[Any]:
        """Yield the records in `data`, up to the first broken one."""
        stream = BytesIO(data)
        records = StreamReader(stream, skip_magic=True, emit_chunks=True, record_size_limit=len(data)).records
        while True:
            try:
                yield next(records)
            except StopIteration:
                return
            except _WRONG:
                if tell and stream.tell() < len(data):
                    self.losses.add("record(s) that cannot be read")
                return

    def _taken(self, record: Any, sure: bool) -> Found | None:
        if not isinstance(record, Message):
            self._learn(record, sure)
            return None
        if record.channel_id not in self.sources:
            self.sources[record.channel_id] = self._source(record.channel_id)
        source = self.sources[record.channel_id]
        if source is None:
            self.losses.add("message(s) of a topic that the file does not name any more")
            return None
        if record.log_time >= 2**63:
            self.losses.add("message(s) whose time cannot be one")
            return None
        return Found(source, record.log_time, record.data)

    def _learn(self, record: Any, sure: bool) -> None:
        """Learn from a record; what a sound chunk says overrides a broken one and the summary."""
        tables: dict[type, dict[int, Any]] = {Schema: self.schemas, Channel: self.channels}
        known = tables.get(type(record))
        if known is not None and (sure or record.id not in known):
            known[record.id] = record
            self.sources.clear()

    def _source(self, number: int) -> DamagedTopic | None:
        channel = self.channels.get(number)
        schema = self.schemas.get(channel.schema_id) if channel else None
        if channel is None or schema is None:
            return None
        text = schema.data.decode("utf-8", errors="replace") if schema.encoding.startswith("ros2") else ""
        qos = channel.metadata.get("offered_qos_profiles", "")
        return DamagedTopic(channel.topic, schema.name, channel.message_encoding, qos, text)


def _records(view: mmap.mmap, place: int) -> Iterator[tuple[int, int, int]]:
    """Yield (kind, begin, end) of the records from `place` on, up to one that cannot be a record."""
    while place + _HEAD.size <= len(view):
        kind, length = _HEAD.unpack_from(view, place)
        begin, end = place + _HEAD.size, place + _HEAD.size + length
        if not _is_kind(kind) or end > len(view) or not _is_sound(view, kind, begin, end):
            return
        yield kind, begin, end
        place = end


def _is_sound(view: mmap.mmap, kind: int, begin: int, end: int) -> bool:
    """Judge a chunk by its content; any other record by whether a record, or the end's magic, can follow."""
    if kind == Opcode.CHUNK:
        return _agrees(view, begin, end)
    return end == len(view) or _is_kind(view[end]) or view[end : end + len(_MAGIC)] == _MAGIC


def _is_kind(number: int) -> bool:
    return number in _KNOWN or number >= _PRIVATE


def _next_chunk(view: mmap.mmap, place: int) -> int | None:
    """Return where the next chunk with consistent lengths begins."""
    while (found := _CHUNK_START.search(view, place + 1)) is not None:
        place = found.start()
        _, length = _HEAD.unpack_from(view, place)
        begin = place + _HEAD.size
        if begin + length <= len(view) and _agrees(view, begin, begin + length):
            return place
    return None


def _agrees(view: mmap.mmap, begin: int, end: int) -> bool:
    """Return whether the lengths in a chunk's body add up to its own."""
    if end - begin < _CHUNK.size + 8:
        return False
    start_ns, end_ns, _, _, named = _CHUNK.unpack_from(view, begin)
    at = begin + _CHUNK.size + named
    return bool(start_ns <= end_ns and at + 8 <= end and at + 8 + struct.unpack_from("<Q", view, at)[0] == end)


def _unpacked(body: bytes) -> tuple[bytes, str]:
    """Return (records, problem) of a chunk; as many records as possible if there is a problem."""
    _, _, size, checksum, named = _CHUNK.unpack_from(body, 0)
    at = _CHUNK.size + named
    kind = body[_CHUNK.size : at].decode("ascii")
    (length,) = struct.unpack_from("<Q", body, at)
    packed = body[at + 8 : at + 8 + length]
    if kind not in ("", "zstd", "lz4"):
        return b"", f"compressed with '{printable(kind, 20)}'"
    if kind and size > memory_limit(len(packed)):
        return b"", f"{len(packed)} bytes claim to unpack to {size}"
    data, problem = unpack_what_can_be(packed, kind, size) if kind else (packed, "")
    if problem:
        return data, problem
    if len(data) != size:
        return data, f"it holds {len(data)} bytes of {size}"
    return data, "its checksum is wrong" if checksum and zlib.crc32(data) != checksum else ""
