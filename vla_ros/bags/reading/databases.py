"""Untrusted SQLite files: read-only, plain tables only, and a time limit on every query."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from vla_ros.bags.reading.errors import BagError

FAILURES = (sqlite3.Error, UnicodeDecodeError)  # the latter from an error's text, which quotes damaged bytes
_INSTRUCTIONS = 10_000  # of SQLite's machine, between two checks of the clock
_LIMIT_S, _BYTES_PER_S = 5.0, 20e6
_LONGEST = 512_000_000  # bytes of one message
_GENERATED = (2, 3)  # kinds of columns in PRAGMA table_xinfo


class Patience:
    """The time that a query may take; `again` restarts it."""

    def __init__(self, size: int) -> None:
        self._seconds = _LIMIT_S + size / _BYTES_PER_S
        self.again()

    def again(self) -> None:
        """Restart the clock."""
        self._end_s = time.monotonic() + self._seconds

    def is_over(self) -> bool:
        """Return whether the time is up; SQLite's progress handler."""
        return time.monotonic() > self._end_s


@contextmanager
def reading(path: Path, changeable: bool = False) -> Iterator[tuple[sqlite3.Connection, Patience]]:
    """Open a database and leave it unchanged. changeable: a copy of ours, whose journal is to be rolled back.

    Raise BagError if it holds anything but plain tables.
    """
    patience = Patience(path.stat().st_size)
    mode = "mode=rw" if changeable else "mode=ro&immutable=1"
    database = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{mode}", uri=True)
    try:
        database.set_progress_handler(patience.is_over, _INSTRUCTIONS)
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        database.text_factory = lambda text: text.decode("utf-8", errors="replace")
        database.execute("PRAGMA trusted_schema=OFF")
        _check_tables(database)
        yield database, patience
    finally:
        database.close()


def check_database(path: Path) -> None:
    """Raise BagError for a database that is not a bag's, or whose messages do not end."""
    try:
        with reading(path) as (database, _):
            database.execute("SELECT count(timestamp), count(topic_id) FROM messages").fetchone()
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            raise BagError("its messages cannot be counted in reasonable time") from error
        raise BagError(str(error)) from error
    except FAILURES as error:
        raise BagError(str(error)) from error


def _check_tables(database: sqlite3.Connection) -> None:
    """Refuse views, triggers, virtual tables and generated columns: they are programs, and a bag has none."""
    for kind, name, page in database.execute("SELECT type, name, rootpage FROM sqlite_master").fetchall():
        if kind not in ("table", "index") or not page:
            raise BagError(
                f"{name!a} is a {kind if page or kind != 'table' else 'virtual table'}; a bag has only tables"
            )
        if kind == "table":
            columns = database.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (name,)).fetchall()
            if computed := [column for column, hidden in columns if hidden in _GENERATED]:
                raise BagError(f"{computed[0]!a} of the table {name!a} is computed; a bag's columns are stored")
