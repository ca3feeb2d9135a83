"""The storage files of a bag, unpacked if necessary."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vla_ros.bags.reading.unpacking import unpack_file

STORAGES = {".mcap": "mcap", ".db3": "sqlite3"}
PACKED = ".zstd"
EXPECTED = "a rosbag2 folder, or a file that ends with .mcap, .db3, .mcap.zstd or .db3.zstd"


def storage_suffix(path: Path) -> str:
    """Return .mcap or .db3, also for a packed file; empty for any other."""
    suffix = Path(path.stem).suffix if path.suffix == PACKED else path.suffix
    return suffix if suffix in STORAGES else ""


def storage_files(path: Path, deep: bool = False) -> list[Path]:
    """Return the bag's files in order. deep: also those of parts that were never completed, at the end.

    If a file exists plain and packed, the plain one counts: rosbag2 removes it once the packed one is whole. Only
    regular files are taken, since anything else may never end.
    """
    if not path.is_dir():
        return [path] if path.is_file() and storage_suffix(path) else []
    found = {file for file in (path.rglob("*") if deep else path.iterdir()) if storage_suffix(file) and file.is_file()}
    whole = (file for file in found if file.suffix != PACKED or file.with_suffix("") not in found)
    return sorted(whole, key=lambda file: (len(file.parts), file.name))


def not_regular(path: Path) -> str:
    """Say which file of a bag has the right name but is not a regular file; empty if none."""
    named = [path] if not path.is_dir() else sorted(path.iterdir())
    odd = [file for file in named if storage_suffix(file) and not file.is_file() and not file.is_dir()]
    return f"{odd[0]} is not a regular file" if odd else ""


@contextmanager
def plain_file(file: Path, beside: Path | None = None) -> Iterator[Path]:
    """Yield the file itself, or an unpacked copy in a folder (in `beside`, or temporary) that is removed afterwards.

    Also a link if a name holds what the database reader would take for part of a URL.
    """
    odd = any(sign in str(file.absolute()) for sign in "?#%")
    if file.suffix != PACKED and not odd:
        yield file
        return
    with tempfile.TemporaryDirectory(prefix=".vla_ros_bag_", dir=beside) as folder:
        plain = Path(folder) / f"bag{storage_suffix(file)}"
        if file.suffix == PACKED:
            unpack_file(file, plain)
        else:
            plain.symlink_to(file.absolute())
        yield plain
