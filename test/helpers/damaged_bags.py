"""Bags as others write them, and what can happen to them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from mcap.writer import CompressionType, IndexType, Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as BagWriter
from rosbags.typesys import Stores, get_typestore

TYPES = get_typestore(Stores.ROS2_KILTED)
STRING = "std_msgs/msg/String"
WORDS = [f"word {k:03d}" for k in range(100)]
CRATER, CRATER_TEXT = "moon_msgs/msg/Crater", "float64 depth\nstd_msgs/Header header\n"
CRATER_TEXT += "=" * 80 + "\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
CRATER_TEXT += "=" * 80 + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"


def cdr(text: str) -> bytes:
    """A std_msgs/msg/String."""
    return bytes(TYPES.serialize_cdr(TYPES.types[STRING](text), STRING))


def write_mcap(
    path: Path,
    texts: list[str],
    compression: CompressionType = CompressionType.NONE,
    *,
    topic: str = "/words",
    kind: str = STRING,
    definition: str = "string data",
    encoding: str = "cdr",
    schema_encoding: str = "ros2msg",
    each: int = 10,
    summary: bool = True,
    pack: Any = bytes,
    qos: str = "",
) -> Path:
    """Strings at 1 us, 2 us, ...; a chunk for about `each` of them. Not the writer that the product uses."""
    with path.open("wb") as stream:
        options: dict[str, Any] = (
            {}
            if summary
            else {
                "index_types": IndexType.NONE,
                "repeat_channels": False,
                "repeat_schemas": False,
                "use_statistics": False,
                "use_summary_offsets": False,
            }
        )
        chunk_size = each * (31 + len(pack(cdr(texts[0])))) if texts else 1000
        writer = Writer(stream, chunk_size=chunk_size, compression=compression, enable_crcs=True, **options)
        writer.start(profile="ros2", library="test")
        schema = writer.register_schema(kind, schema_encoding, definition.encode())
        channel = writer.register_channel(topic, encoding, schema, {"offered_qos_profiles": qos})
        for k, text in enumerate(texts):
            writer.add_message(channel, (k + 1) * 1000, pack(cdr(text)), (k + 1) * 1000)
        writer.finish()  # type: ignore[no-untyped-call]
    return path


def sqlite_bag(path: Path, words: list[str] = WORDS) -> Path:
    """A database of its own, and where it lies."""
    with BagWriter(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection("/words", STRING, typestore=TYPES)
        for k, text in enumerate(words):
            writer.write(connection, k * 1000, cdr(text))
    return path / f"{path.name}.db3"


def chunks(path: Path) -> list[tuple[int, int]]:
    """(begin, end) of the packed data of every chunk."""
    data, place, found = path.read_bytes(), 8, []
    while place + 9 <= len(data):
        kind, length = struct.unpack_from("<BQ", data, place)
        begin = place + 9
        if kind == 6:
            (named,) = struct.unpack_from("<I", data, begin + 28)
            found.append((begin + 40 + named, begin + length))
        if kind == 2:
            break
        place = begin + length
    return found


def overwrite(path: Path, place: int, data: bytes) -> None:
    """Change bytes in a file."""
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(data)


def zstd(data: bytes) -> bytes:
    """Packed, as rosbag2 does it."""
    import zstandard

    return zstandard.ZstdCompressor().compress(data)
