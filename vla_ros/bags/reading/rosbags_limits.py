"""rosbags with the limits that it lacks: chunks are unpacked up to a bound, QoS texts are YAML without references.

It unpacks a chunk whatever its size, and merge keys let a QoS text of 1 kB fill the memory. Both are functions of its
modules with no other hook, so importing this file replaces them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rosbags.interfaces import Qos
from rosbags.rosbag2 import ReaderError, storage_mcap, storage_sqlite3
from rosbags.rosbag2.metadata import parse_qos

from vla_ros.bags.reading.errors import BagError
from vla_ros.bags.reading.unpacking import file_limit, memory_limit, unpack

_QOS_MOST = 200_000  # characters; a profile takes about 300


def bounded_qos(said: Any) -> list[Qos]:
    """Parse QoS as rosbags' `parse_qos` does, but only texts that are short and do not refer to themselves."""
    if isinstance(said, str) and (len(said) > _QOS_MOST or any(sign in said for sign in ("&", "*", "<<"))):
        raise ReaderError("a topic's QoS profiles are no such text")
    return parse_qos(said)


def check_chunks(reader: storage_mcap.McapReader, size: int) -> None:
    """Refuse an open MCAP file of `size` bytes whose index names more than the file can hold."""
    if sum(chunk.uncompressed_size for chunk in reader.chunks) > file_limit(size):
        raise BagError(f"its chunks claim to unpack to more than {file_limit(size)} bytes")
    end = 0
    for start, length in sorted((chunk.chunk_start_offset, chunk.chunk_length) for chunk in reader.chunks):
        if start < end:
            raise BagError("its index names the same chunk twice")
        end = start + length


def _bounded(kind: str) -> Callable[[bytes, int], bytes]:
    def decompress(data: bytes, size: int) -> bytes:
        if size > memory_limit(len(data)):
            raise ReaderError(f"a chunk of {len(data)} bytes claims to unpack to {size}")
        return unpack(data, kind, size)

    return decompress


storage_mcap.DECOMPRESSORS |= {kind: _bounded(kind) for kind in ("zstd", "lz4")}
for module in (storage_mcap, storage_sqlite3):
    setattr(module, parse_qos.__name__, bounded_qos)
