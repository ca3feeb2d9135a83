"""A folder appears whole or not at all, whatever fails while it is written; an old one is replaced in one step."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

AT_FDCWD, EXCHANGE = -100, 2  # of Linux's renameat2


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield a folder to fill, beside `out`; it becomes `out` at the end, and is gone where anything fails before.

    A folder that is there already is replaced in one step: a crash leaves the old one or the new one, never a mixture.
    """
    out = Path(os.path.abspath(out))  # a name such as `.` has no folder beside it
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield part
        part.chmod(0o755)
        _to_disk(part)
        if out.exists():
            _exchange(part, out)
            shutil.rmtree(part)
        else:
            part.rename(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _exchange(new: Path, old: Path) -> None:
    """Swap two folders. Where the file system cannot do so in one step, `old` is missing for a moment."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        if rename(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(old), EXCHANGE) == 0:
            return
    except (OSError, AttributeError):  # another C library
        pass
    aside = new.with_name(f"{new.name}.old")
    old.rename(aside)
    new.rename(old)
    aside.rename(new)


def _to_disk(folder: Path) -> None:
    """Wait until everything lies on the disk: after a power cut a rename may outlive what it renamed."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
