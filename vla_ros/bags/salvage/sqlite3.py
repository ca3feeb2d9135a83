"""Every readable row of a damaged SQLite file that is a message. The file and its journal are left unchanged."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vla_ros.bags.reading.databases import FAILURES, Patience, reading
from vla_ros.bags.reading.errors import BagError
from vla_ros.bags.reading.reader import CDR
from vla_ros.bags.salvage.parts import DamagedTopic, Found, Losses

_JOURNAL_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
_COMPANIONS = ("-journal", "-wal")
_EACH = 3_000  # rows after a broken one to try one by one before taking larger steps


def salvage_sqlite3(path: Path, losses: Losses, work: Path) -> Iterator[Found]:
    """Yield the messages of a database by row. work: a folder for a copy if there is a journal."""
    with _settled(path, work) as (file, changeable):
        try:
            with reading(file, changeable) as (database, patience):
                sources = _sources(database)
                for topic, receive_ns, data in _rows(database, patience, losses):
                    source = sources.get(topic)
                    if source is None:
                        losses.add("message(s) of a topic without a name or a type")
                    elif type(receive_ns) is not int or type(data) is not bytes or receive_ns < 0:
                        losses.add("row(s) whose time or data are of another kind")
                    else:
                        yield Found(source, receive_ns, data)
        except FAILURES as error:
            losses.add(f"database(s) that cannot be read ({error})")


@contextmanager
def _settled(path: Path, work: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the database as its writer would find it again, with its journal or log applied, in a copy.

    Opening a database rolls back a leftover journal, and the journal may name another file, which is then deleted. So
    the original is never opened beside one.
    """
    companions = [path.with_name(path.name + end) for end in _COMPANIONS]
    companions = [file for file in companions if file.is_file() and file.stat().st_size]
    if not companions:
        yield path, False
        return
    folder = work / "copy"
    folder.mkdir()
    try:
        for file in (path, *companions):
            shutil.copyfile(file, folder / file.name)
        _check_journal(folder / f"{path.name}-journal", path)
        yield folder / path.name, True
    finally:
        shutil.rmtree(folder)


def _check_journal(journal: Path, database: Path) -> None:
    if not journal.is_file() or (size := journal.stat().st_size) < 16:
        return
    with journal.open("rb") as stream:
        stream.seek(size - len(_JOURNAL_MAGIC))
        if stream.read() == _JOURNAL_MAGIC:
            raise BagError(
                f"{database}-journal belongs to a transaction over several files, which no recorder makes, and would "
                f"have another file deleted; remove it to save what the database holds without it"
            )


def _sources(database: sqlite3.Connection) -> dict[Any, DamagedTopic]:
    """Return the topics by their number."""
    texts = dict(_table(database, "SELECT topic_type, encoded_message_definition FROM message_definitions"))
    columns = {name for _, name, *_ in database.execute("PRAGMA table_info(topics)")}
    more = [name if name in columns else "NULL" for name in ("serialization_format", "offered_qos_profiles")]
    found = {}
    for number, topic, kind, serialization, qos in _table(
        database, f"SELECT id, name, type, {', '.join(more)} FROM topics"
    ):
        if topic and kind and isinstance(topic, str) and isinstance(kind, str):
            form = serialization if isinstance(serialization, str) and serialization else CDR
            said = texts.get(kind)
            found[number] = DamagedTopic(topic, kind, form, _text(qos), _text(said))
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _table(database: sqlite3.Connection, query: str) -> Iterator[Any]:
    """Yield the rows up to the first unreadable one; none if the bag is older than the table."""
    try:
        yield from database.execute(query)
    except FAILURES:
        return


def _rows(database: sqlite3.Connection, patience: Patience, losses: Losses) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (topic, time, data) by row, past broken pages."""
    query, last, tries = "SELECT rowid, topic_id, timestamp, data FROM messages WHERE rowid > ? ORDER BY rowid", 0, 0
    last = _edge(database, "min", 1) - 1
    end = _edge(database, "max", 2**31)
    while last < end:
        try:
            for number, *row in database.execute(query, (last,)):
                if number <= last:  # the pages form a loop
                    losses.add("database(s) whose pages go round in circles")
                    return
                last, tries = number, 0
                patience.again()
                yield row[0], row[1], row[2]
            return
        except FAILURES:
            if not tries:
                losses.add("stretch(es) of rows that cannot be read")
            tries += 1
            last += 1 << max(0, (tries - _EACH) // 100)
            patience.again()


def _edge(database: sqlite3.Connection, which: str, otherwise: int) -> int:
    """Return the first or the last row number, found from the page that leads to it."""
    try:
        (number,) = database.execute(f"SELECT {which}(rowid) FROM messages").fetchone()
    except FAILURES:
        return otherwise
    return number if isinstance(number, int) else otherwise
