"""zstd and lz4 with a limit: data that claims or turns out to be far larger than its packed form is refused."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from lz4.frame import LZ4FrameDecompressor

from vla_ros.bags.reading.errors import BagError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # CDR begins with a zero byte, so a packed message cannot be taken for a plain one
LZ4_MAGIC = b"\x04\x22\x4d\x18"
# In memory: a chunk, or a message. A picture of one colour shrinks a thousandfold, but it is small.
_FREE, _RATIO, _MOST = 64_000_000, 20, 512_000_000
# On the disk: a file.
_FILE_FREE, _FILE_RATIO = 256_000_000, 1000
_LOOK_BYTES, _LEFT_BYTES = 64_000_000, 256_000_000  # of the disk that is unpacked to
_BLOCK = 1 << 16
_PIECE = 1 << 22


def memory_limit(packed_bytes: int) -> int:
    """Return how many bytes a chunk or a message may unpack to."""
    return min(_FREE + _RATIO * packed_bytes, _MOST)


def file_limit(packed_bytes: int) -> int:
    """Return how many bytes a file, or all chunks of a file, may unpack to."""
    return _FILE_FREE + _FILE_RATIO * packed_bytes


def unpack(data: bytes, kind: str, limit: int) -> bytes:
    """Unpack zstd or lz4 `data`, at most `limit` bytes. BagError if it is damaged or larger."""
    pieces: list[bytes] = []
    problem = _unpack(iter(_blocks(data)), kind, limit, pieces)
    if problem:
        raise BagError(problem)
    return b"".join(pieces)


def unpack_what_can_be(data: bytes, kind: str, limit: int) -> tuple[bytes, str]:
    """Return the data before the damage, and a description of the damage, or empty text."""
    pieces: list[bytes] = []
    problem = _unpack(iter(_blocks(data)), kind, limit, pieces)
    return b"".join(pieces)[:limit], problem


def plain_message(data: bytes) -> bytes:
    """Return a message as it was sent, also if rosbag2 packed each one."""
    if data[:4] == ZSTD_MAGIC:
        return unpack(data, "zstd", memory_limit(len(data)))
    if data[:4] == LZ4_MAGIC:
        return unpack(data, "lz4", memory_limit(len(data)))
    return data


def unpack_file(source: Path, target: Path, partly: bool = False) -> str:
    """Unpack a zstd file. With `partly`, keep what comes before the damage and return the damage in words."""
    limit = file_limit(source.stat().st_size)
    with source.open("rb") as packed, target.open("wb") as plain:
        blocks = iter(lambda: packed.read(_BLOCK), b"")
        problem = _unpack(blocks, "zstd", limit, _Written(plain, target.parent))
    if problem and not partly:
        raise BagError(f"{source}: {problem}")
    return problem


class _Written:
    """A list's `append`, to a file; it stops before the disk is full."""

    def __init__(self, stream: BinaryIO, folder: Path) -> None:
        self._stream, self._folder = stream, folder
        self._until_look = _LOOK_BYTES

    def append(self, piece: bytes) -> None:
        """Write a piece."""
        self._stream.write(piece)
        self._until_look -= len(piece)
        if self._until_look < 0:
            self._until_look = _LOOK_BYTES
            if (free := shutil.disk_usage(self._folder).free) < _LEFT_BYTES:
                raise BagError(f"{free / 1e6:.0f} MB left in {self._folder.parent}: too little to unpack; set TMPDIR")


def _blocks(data: bytes) -> Iterator[bytes]:
    return (data[k : k + _BLOCK] for k in range(0, len(data), _BLOCK))


def _unpack(blocks: Iterator[bytes], kind: str, limit: int, pieces: Any) -> str:
    """Append what `blocks` hold to `pieces`, up to `limit` bytes; return the problem, or empty text."""
    maker, errors = (zstd.ZstdDecompressor, zstd.ZstdError) if kind == "zstd" else (LZ4FrameDecompressor, RuntimeError)
    unpacker, left, finished = maker(), limit, False
    for block in blocks:
        rest = block
        while rest or not (finished or unpacker.needs_input):
            try:
                piece = unpacker.decompress(rest, max_length=min(left + 1, _PIECE))
            except (errors, EOFError, MemoryError) as error:
                return f"damaged {kind} data: {error}"
            left -= len(piece)
            if left < 0:
                return f"it unpacks to more than {limit} bytes, too many for its size"
            pieces.append(piece)
            finished = unpacker.eof
            rest = (unpacker.unused_data or b"") if finished else b""
            if finished:
                unpacker = maker()
    return "" if finished else f"damaged {kind} data: it breaks off"
