"""What is whole in a damaged bag is saved, what is not is counted, and the old bag stays as it was."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from damaged_bags import CRATER, CRATER_TEXT, STRING, TYPES, WORDS, cdr, chunks, overwrite, sqlite_bag, write_mcap, zstd
from mcap.writer import CompressionType
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer

from vla_ros.bags.reading.reader import BagError, decode, open_bag
from vla_ros.bags.salvage.repair import repair
from vla_ros.bags.writer import BagWriter, Channel, Format

ROOT = Path(__file__).resolve().parents[3]
ALL = [CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD]
each_compression = pytest.mark.parametrize("compression", ALL, ids=lambda c: c.name.lower())


def said(path: Path) -> list[str]:
    """The words of a bag, which rosbags can read by its metadata, too."""
    with open_bag(path) as bag:
        found = [decode(one).data for one in bag.messages()]
    with Reader(path) as reader:
        assert sum(1 for _ in reader.messages()) == len(found)
    return found


def content(path: Path) -> dict[str, str]:
    """Every file below a folder and what is in it."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


# --- chunks -----------------------------------------------------------------------------------------------------------


@each_compression
@pytest.mark.parametrize("which", [0, 3, -1], ids=["first", "middle", "last"])
def test_what_lies_behind_a_damaged_chunk_is_saved(tmp_path: Path, compression: CompressionType, which: int) -> None:
    path = write_mcap(tmp_path / "bag.mcap", WORDS, compression)
    begin, end = chunks(path)[which]
    # Far enough inside that a name or a text changes, and no length.
    overwrite(path, (begin + end) // 2 if compression != CompressionType.NONE else end - 2, b"\xff\xff")
    before = content(path)
    done = repair(path)
    left = said(done.path)
    assert len(WORDS) - 15 <= len(left) < len(WORDS) and set(left) < set(WORDS)
    assert any("damaged" in line for line in done.lost)
    assert content(done.damaged) == before and done.damaged == tmp_path / "bag.mcap.damaged"


@each_compression
def test_a_chunk_whose_checksum_is_wrong_is_kept_only_where_that_is_asked_for(
    tmp_path: Path, compression: CompressionType
) -> None:
    path = write_mcap(tmp_path / "bag.mcap", WORDS, compression)
    begin, _ = chunks(path)[4]
    named = {CompressionType.NONE: 0, CompressionType.LZ4: 3, CompressionType.ZSTD: 4}[compression]
    overwrite(path, begin - 16 - named, struct.pack("<I", 12345))  # the checksum, before the compression's name
    shutil.copy(path, tmp_path / "again.mcap")
    done = repair(path)
    lost = len(WORDS) - len(said(done.path))
    assert 5 < lost < 15
    assert any(f"{lost} messages in damaged chunks" in line and "--keep-doubtful" in line for line in done.lost)
    kept = repair(tmp_path / "again.mcap", keep_doubtful=True)
    assert said(kept.path) == WORDS and any("kept all the same" in line for line in kept.lost)


def test_a_broken_length_costs_what_it_spans(tmp_path: Path) -> None:
    """Chunks are found again by their form, where the lengths before them lie."""
    path = write_mcap(tmp_path / "bag.mcap", WORDS, CompressionType.ZSTD, summary=False)
    begin, _ = chunks(path)[3]
    overwrite(path, begin - 40 - 4 - 8, b"\xff" * 8)  # the chunk record's own length
    left = said(repair(path).path)
    assert len(WORDS) - 15 <= len(left) < len(WORDS) and left[0] == WORDS[0] and left[-1] == WORDS[-1]


def test_garbage_between_chunks_costs_nothing_else(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "bag.mcap", WORDS, CompressionType.LZ4)
    (_, first), (_, second) = chunks(path)[2:4]
    overwrite(path, first, b"\xee" * 40)  # an index record, which lies between the chunks
    assert second > first + 40
    assert said(repair(path).path) == WORDS


@each_compression
def test_a_file_that_breaks_off_is_saved_up_to_there(tmp_path: Path, compression: CompressionType) -> None:
    path = write_mcap(tmp_path / "bag.mcap", WORDS, compression)
    begin, end = chunks(path)[5]
    with path.open("r+b") as stream:
        stream.truncate((begin + end) // 2)
    left = said(repair(path).path)
    assert left == WORDS[: len(left)] and len(left) >= 45


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_recording_that_was_killed_says_so_and_is_completed(tmp_path: Path, storage: Any) -> None:
    path = tmp_path / "bag"
    writer = BagWriter(path, Format(storage))
    writer.add(Channel("/words", STRING))
    for k, text in enumerate(WORDS):
        writer.write("/words", k * 1000, cdr(text))
    writer.flush()
    files = content(path)  # as a SIGKILL leaves it
    with pytest.raises(BagError, match=f"never completed; complete it with `vla-ros bag repair {path}`"):
        open_bag(path)
    done = repair(path)
    assert said(path) == WORDS and content(done.damaged) == files
    writer.abort()


def test_nothing_blocks_the_next_try(tmp_path: Path) -> None:
    """A repair that fails leaves no file behind, and the bag under its name."""
    path = tmp_path / "bag.mcap"
    path.write_bytes(b"\x89MCAP0\r\n" + b"\x06" + struct.pack("<Q", 2**40) + b"\xff" * 200)
    before = sorted(file.name for file in tmp_path.iterdir())
    for _ in range(2):
        with pytest.raises(BagError, match=r"nothing in it can be saved: .*it is as it was"):
            repair(path)
        assert sorted(file.name for file in tmp_path.iterdir()) == before


@pytest.mark.parametrize("taken", ["bag.mcap.damaged", "bag"])
def test_what_is_in_the_way_is_named_before_anything_is_done(tmp_path: Path, taken: str) -> None:
    path = write_mcap(tmp_path / "bag.mcap", WORDS)
    (tmp_path / taken).mkdir()
    (tmp_path / taken / "mine.txt").write_text("mine")
    before = content(tmp_path)
    with pytest.raises(BagError, match=f"{tmp_path / taken} exists already; move it away"):
        repair(path)
    assert content(tmp_path) == before


def test_a_full_disk_leaves_the_bag_as_it_was(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "bag.mcap", ["x" * 100_000] * 20)
    before = content(tmp_path)

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = subprocess.run(
        [sys.executable, "-m", "vla_ros.cli.main", "bag", "repair", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=small_files,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "File too large" in done.stderr and "it is as it was" in done.stderr
    assert content(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "read_only"
    folder.mkdir()
    path = write_mcap(folder / "bag.mcap", WORDS)
    for one in (folder, *tmp_path.parents):
        if one.stat().st_uid == os.geteuid() and one.is_relative_to(tmp_path.parents[1]):
            one.chmod(one.stat().st_mode | 0o055)
    folder.chmod(0o555)
    command = [sys.executable, "-m", "vla_ros.cli.main", "bag", "repair", str(path)]
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=65534", "--clear-groups", *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    folder.chmod(0o755)
    if "setpriv" in done.stderr:
        pytest.skip(f"no other user here: {done.stderr}")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "cannot be repaired" in done.stderr and [file.name for file in folder.iterdir()] == ["bag.mcap"]


# --- compression by rosbag2 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", list(StoragePlugin), ids=lambda storage: storage.name.lower())
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE], ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("metadata", [True, False], ids=["with metadata", "without metadata"])
@pytest.mark.parametrize("lone", [False, True], ids=["folder", "file"])
def test_packed_bags_are_read_and_repaired(
    tmp_path: Path, storage: StoragePlugin, mode: CompressionMode, metadata: bool, lone: bool
) -> None:
    path = tmp_path / "bag"
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/words", STRING, typestore=TYPES)
        for k, text in enumerate(WORDS):
            writer.write(connection, k * 1000, cdr(text))
    if not metadata:
        (path / "metadata.yaml").unlink()
    if lone:
        path = next(file for file in path.iterdir() if file.suffix in (".zstd", ".mcap", ".db3"))
    with open_bag(path) as bag:
        assert [decode(one).data for one in bag.messages()] == WORDS and bag.storage == storage.name.lower()
    assert said(repair(path).path) == WORDS


def test_a_packed_file_that_breaks_off_is_saved_up_to_there(tmp_path: Path) -> None:
    plain = write_mcap(tmp_path / "plain.mcap", [text * 3000 for text in WORDS])
    packed = zstd(plain.read_bytes())
    (tmp_path / "bag.mcap.zstd").write_bytes(packed[: len(packed) * 9 // 10])
    done = repair(tmp_path / "bag.mcap.zstd")
    assert 0 < done.messages < len(WORDS) and done.path == tmp_path / "bag"
    assert any("packed file" in line for line in done.lost)


def test_messages_packed_by_something_unknown_are_refused_by_name(tmp_path: Path) -> None:
    path = sqlite_bag(tmp_path / "bag").parent
    text = (path / "metadata.yaml").read_text()
    text = text.replace("compression_mode: ''", "compression_mode: message")
    (path / "metadata.yaml").write_text(text.replace("compression_format: ''", "compression_format: brotli"))
    before = content(path)
    for use in (open_bag, repair):
        with pytest.raises(BagError, match="its messages are compressed with 'brotli'; only zstd and lz4 can be read"):
            use(path)
    assert content(path) == before


# --- types ------------------------------------------------------------------------------------------------------------


def test_a_type_that_is_not_installed_keeps_the_definition_of_its_bag(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "bag.mcap", WORDS, kind=CRATER, definition=CRATER_TEXT)
    done = repair(path)
    assert (done.messages, done.lost) == (len(WORDS), ())
    with Reader(done.path) as reader:
        (connection,) = reader.connections
        assert connection.msgtype == CRATER and connection.msgdef.data == CRATER_TEXT
        assert [data for _, _, data in reader.messages()] == [cdr(text) for text in WORDS]


@pytest.mark.parametrize(
    "definition", ["", "no such [[ text", "moon_msgs/Lost inner"], ids=["none", "wrong", "partial"]
)
def test_a_topic_whose_type_nobody_knows_is_left_out_and_named(tmp_path: Path, definition: str) -> None:
    folder = tmp_path / "bag"
    folder.mkdir()
    write_mcap(folder / "a.mcap", WORDS, topic="/crater", kind=CRATER, definition=definition)
    write_mcap(folder / "b.mcap", WORDS)
    done = repair(folder)
    assert said(done.path) == WORDS
    (line,) = done.lost
    assert line.startswith("100 message(s) of /crater are left out: the type moon_msgs/msg/Crater is n")


@pytest.mark.parametrize("kind", ["../../etc/msg/X", "std_msgs/../X", "x/y/z/w", "this/msg/X", "\x1b]0;msg"])
def test_a_type_is_no_path(tmp_path: Path, kind: str) -> None:
    path = write_mcap(tmp_path / "bag.mcap", WORDS, kind=kind, definition="")
    with pytest.raises(BagError, match=r"nothing in it can be saved: 100 message\(s\) of /words are left out"):
        repair(path)


@pytest.mark.parametrize("encoding", ["protobuf", "json", "ros1"])
def test_another_serialization_is_named_and_not_relabelled(tmp_path: Path, encoding: str) -> None:
    path = write_mcap(tmp_path / "bag.mcap", WORDS, encoding=encoding)
    with open_bag(path) as bag, pytest.raises(BagError, match=f"/words is serialized as '{encoding}'; only 'cdr'"):
        list(bag.messages())
    with pytest.raises(BagError, match=f"they are serialized as '{encoding}', and only 'cdr' can be written"):
        repair(path)


def test_a_schema_of_another_system_is_named(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "bag.mcap", WORDS, encoding="protobuf", schema_encoding="protobuf")
    with pytest.raises(BagError, match="'protobuf'") as refused, open_bag(path):
        pass
    assert "repair" not in str(refused.value), "a repair would not help"


@pytest.mark.parametrize("storage", list(StoragePlugin), ids=lambda storage: storage.name.lower())
def test_two_types_on_one_topic_stay_two(tmp_path: Path, storage: StoragePlugin) -> None:
    from vla_ros.bags.info import inspect

    path, other = tmp_path / "bag", "std_msgs/msg/Int32"
    with Writer(path, version=9, storage_plugin=storage) as writer:
        for kind, data in ((STRING, cdr("one")), (other, TYPES.serialize_cdr(TYPES.types[other](7), other))):
            writer.write(writer.add_connection("/both", kind, typestore=TYPES), 1000, data)
    done = repair(path)
    assert (done.messages, done.lost) == (2, ())
    with open_bag(done.path) as bag:
        assert sorted(str(decode(one).data) for one in bag.messages()) == ["7", "one"]
        found = inspect(bag)
    assert [(one.type, one.count, one.problem) for one in found] == [
        (other, 1, "the topic has 2 types"),
        (STRING, 1, "the topic has 2 types"),
    ]


# --- databases --------------------------------------------------------------------------------------------------------


def hot_journal(file: Path) -> None:
    """What a recorder leaves that is killed in the middle of a transaction: its pages in the file, and the way back."""
    code = (
        f"import sqlite3,os; c=sqlite3.connect({str(file)!r}); c.execute('PRAGMA cache_size=2');"
        "c.execute('BEGIN'); c.executemany('INSERT INTO messages(topic_id,timestamp,data) VALUES (1,1,?)',"
        "[(b'x'*3000,)]*50); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert file.with_name(f"{file.name}-journal").stat().st_size > 512


def test_a_journal_is_rolled_back_and_the_old_bag_stays_as_it_was(tmp_path: Path) -> None:
    file = sqlite_bag(tmp_path / "bag")
    hot_journal(file)
    before = content(file.parent)
    done = repair(file.parent)
    assert said(done.path) == WORDS
    assert content(done.damaged) == before


def test_what_a_write_ahead_log_holds_is_saved(tmp_path: Path) -> None:
    file = sqlite_bag(tmp_path / "bag", WORDS[:1])
    code = (
        f"import sqlite3,os; c=sqlite3.connect({str(file)!r}); c.execute('PRAGMA journal_mode=WAL');"
        f"c.execute('INSERT INTO messages(topic_id,timestamp,data) VALUES (1,9,?)',({cdr('late')!r},));"
        "c.commit(); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    before = content(file.parent)
    done = repair(file.parent)
    assert said(done.path) == [WORDS[0], "late"] and content(done.damaged) == before


def test_a_journal_that_names_another_file_deletes_nothing(tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    file = sqlite_bag(tmp_path / "bag")
    hot_journal(file)
    name = str(victim).encode()
    checksum = sum(struct.unpack(f"<{len(name)}b", name)) & 0xFFFFFFFF
    with file.with_name(f"{file.name}-journal").open("ab") as journal:
        journal.write(struct.pack(">I", 2**30 // 4096 + 1) + name + struct.pack(">II", len(name), checksum))
        journal.write(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
    before = content(tmp_path)
    with pytest.raises(BagError, match=r"another file deleted; remove it"):
        repair(file.parent)
    assert victim.read_text() == "precious" and content(tmp_path) == before


def test_rows_that_are_no_messages_are_counted(tmp_path: Path) -> None:
    file = sqlite_bag(tmp_path / "bag")
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA writable_schema=ON")
        database.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE type = 'table'")
    with sqlite3.connect(file) as database:
        for k, odd in enumerate((None, 10**9, 2.5, "text")):
            database.execute("UPDATE messages SET data = ? WHERE id = ?", (odd, k + 1))
        database.execute("UPDATE messages SET timestamp = 'noon' WHERE id = 10")
        database.execute("INSERT INTO topics VALUES (7, NULL, ?, 'cdr', '', '')", (STRING,))
        database.execute("UPDATE messages SET topic_id = 7 WHERE id = 20")
    database.close()
    with pytest.raises(BagError, match="cannot be read"), open_bag(file) as bag:
        list(bag.messages())
    done = repair(file.parent)
    assert said(done.path) == [*WORDS[4:9], *WORDS[10:19], *WORDS[20:]]
    assert done.lost == (
        "1 message(s) of a topic without a name or a type",
        "5 row(s) whose time or data are of another kind",
    )


def test_rows_behind_a_broken_page_are_saved(tmp_path: Path) -> None:
    file = sqlite_bag(tmp_path / "bag", [text * 100 for text in WORDS])
    data = file.read_bytes()
    place = data.index(cdr(WORDS[50] * 100)) // 4096 * 4096
    overwrite(file, place, b"\xff" * 8)  # the page's header
    done = repair(file.parent)
    left = {text[:8] for text in said(done.path)}
    assert len(WORDS) - 12 <= len(left) < len(WORDS) and WORDS[0] in left and WORDS[-1] in left
    assert any("rows that cannot be read" in line for line in done.lost)


def test_the_checksum_of_a_chunk_is_that_of_mcap(tmp_path: Path) -> None:
    """So that a test above changes what it says it does."""
    path = write_mcap(tmp_path / "bag.mcap", WORDS)
    begin, end = chunks(path)[0]
    data = path.read_bytes()
    assert struct.unpack_from("<I", data, begin - 16)[0] == zlib.crc32(data[begin:end])


def test_an_empty_metadata_file_is_no_obstacle_and_is_written_anew(tmp_path: Path, capsys: Any) -> None:
    from vla_ros.cli.main import main

    path = sqlite_bag(tmp_path / "bag").parent
    (path / "metadata.yaml").write_bytes(b"")
    assert main(["bag", "info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "100 messages" in out and f"`vla-ros bag repair {path}` writes it anew" in out
    assert main(["bag", "repair", str(path)]) == 0
    assert said(path) == WORDS
