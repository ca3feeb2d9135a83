"""Bags made to harm their reader: each ends in one line, soon, in little memory; nothing of theirs is run or obeyed."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import lz4.frame
import pytest
import zstandard
from damaged_bags import CRATER, STRING, WORDS, chunks, sqlite_bag, write_mcap
from mcap.writer import CompressionType
from rosbags.rosbag2 import StoragePlugin, Writer

import vla_ros.bags.info
import vla_ros.bags.salvage.repair
import vla_ros.ros.convert  # noqa: F401  before the fork, so that it is not counted
from vla_ros.bags.reading.reader import open_bag
from vla_ros.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
SECONDS, BYTES = 10.0, 2**30


@dataclass(frozen=True)
class Done:
    """What a command has printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def command(*words: object, cwd: Path | None = None) -> Done:
    """`vla-ros ...` in a child of this process, which may take 10 s and 1 GB more than it begins with."""
    with tempfile.TemporaryDirectory() as folder:
        out, err, memory = (Path(folder) / name for name in ("out", "err", "memory"))
        child = os.fork()
        if not child:
            _run(words, cwd or Path(folder), out, err, memory)
        end = time.monotonic() + 2 * SECONDS  # on a busy machine it may take twice as long
        while (status := os.waitpid(child, os.WNOHANG)) == (0, 0):
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                pytest.fail(f"{words} did not end: {out.read_text()}{err.read_text()}")
            time.sleep(0.01)
        done = Done(os.waitstatus_to_exitcode(status[1]), out.read_text(), err.read_text())
        assert "Traceback" not in done.stderr, done.stderr
        assert int(memory.read_text()) < BYTES
        return done


def _run(words: Sequence[object], cwd: Path, out: Path, err: Path, memory: Path) -> NoReturn:
    code = 70
    try:
        os.chdir(cwd)
        for stream, file in ((1, out), (2, err)):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), stream)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        before = _memory()
        code = main([str(word) for word in words])
        memory.write_text(str(_memory() - before))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _memory() -> int:
    """The most that this process held so far [bytes]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def one_line(done: Done, *words: str) -> None:
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, (done.returncode, done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr


def both(path: Path, *words: str) -> None:
    """Refused by info and by repair, which leaves it as it is."""
    before = sorted(path.parent.iterdir())
    for action in ("info", "repair"):
        one_line(command("bag", action, path), *words)
    assert sorted(path.parent.iterdir()) == before


# --- code -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["evilbag/msg/X", "this/msg/X", "antigravity/msg/X", "evilbag.msg/msg/X"])
def test_a_bag_does_not_run_its_own_code(tmp_path: Path, kind: str) -> None:
    bag = tmp_path / "evilbag"
    (bag / "msg").mkdir(parents=True)
    for folder in (bag, bag / "msg"):
        (folder / "__init__.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()\nclass X: pass\n")
    write_mcap(bag / "a.mcap", WORDS, kind=kind, definition="string data")
    done = command("bag", "info", "evilbag", cwd=tmp_path)
    assert done.returncode == 0 and "note: " in done.stdout and "Zen of Python" not in done.stdout
    code = """
import sys; sys.path.insert(0, "")
from vla_ros.bags.reading.reader import BagError, decode, open_bag
with open_bag("evilbag") as bag:
    for one in bag.messages():
        try:
            decode(one)
        except BagError:
            continue
        sys.exit("decoded")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0 and not done.stdout, done.stderr
    assert not (tmp_path / "canary").exists()


# --- bombs ------------------------------------------------------------------------------------------------------------


def packed_zeros(kind: str, size: int) -> bytes:
    """Zeros, packed in pieces."""
    zeros, pieces = bytes(50_000_000), []
    if kind == "zstd":
        packer = zstandard.ZstdCompressor(level=1).compressobj()
        pieces = [packer.compress(zeros) for _ in range(size // len(zeros))]
        return b"".join([*pieces, packer.flush()])
    with lz4.frame.LZ4FrameCompressor() as context:
        pieces = [context.begin(), *(context.compress(zeros) for _ in range(size // len(zeros))), context.flush()]
    return b"".join(pieces)


def with_chunk(path: Path, kind: str, data: bytes, size: int) -> Path:
    """A bag whose only chunk holds `data`, packed, and says that it is `size` bytes."""
    write_mcap(path, WORDS, CompressionType.ZSTD, each=1000)
    whole = path.read_bytes()
    (begin, end), name = chunks(path)[0], kind.encode()
    body = struct.pack("<QQQII", 1000, 100_000, size, 0, len(name)) + name + struct.pack("<Q", len(data)) + data
    head = whole[: whole.index(b"\x06", 9)]
    start = begin - 44 - 9
    assert whole[start] == 6
    del head, end
    # No index behind it: the reader goes through the file.
    tail = b"\x0f" + struct.pack("<QI", 4, 0) + b"\x02" + struct.pack("<QQQI", 20, 0, 0, 0) + b"\x89MCAP0\r\n"
    path.write_bytes(whole[:start] + b"\x06" + struct.pack("<Q", len(body)) + body + tail)
    return path


@pytest.mark.parametrize("kind", ["zstd", "lz4"])
@pytest.mark.parametrize("honest", [True, False], ids=["honest size", "small size"])
def test_a_chunk_that_unpacks_to_gigabytes(tmp_path: Path, kind: str, honest: bool) -> None:
    size = 2_000_000_000
    path = with_chunk(tmp_path / "bag.mcap", kind, packed_zeros(kind, size), size if honest else 1000)
    both(path, "unpack")


def test_a_file_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "bag.db3.zstd"
    path.write_bytes(packed_zeros("zstd", 4_000_000_000))
    one_line(command("bag", "info", path), "unpacks to more than")
    one_line(command("bag", "repair", path), "nothing in it can be saved")


def test_a_message_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    bomb = packed_zeros("zstd", 2_000_000_000)
    path = write_mcap(tmp_path / "bag.mcap", ["x"], pack=lambda _: bomb)
    both(path, "unpacks to more than")


def test_an_index_that_names_a_chunk_many_times(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "bag.mcap", WORDS, each=1000)
    data = path.read_bytes()
    place = data.rindex(b"\x08", 0, len(data) - 37)
    while struct.unpack_from("<Q", data, place + 1)[0] > 200:  # a chunk index record is short
        place = data.rindex(b"\x08", 0, place)
    (length,) = struct.unpack_from("<Q", data, place + 1)
    record = data[place : place + 9 + length]
    path.write_bytes(data[:place] + record * 1000 + data[place + 9 + length :])
    one_line(command("bag", "info", path), "its index names the same chunk twice")


LEVELS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 10)
)
MERGES = "a0: &a0 {k: x}\n" + "".join(
    f"a{k}: &a{k}\n  k{k}: x\n  <<: [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 10)
)
YAML_BOMBS = {
    "aliases": f"{LEVELS}rosbag2_bagfile_information: *a9\n",
    "aliases in the mode": f"{LEVELS}rosbag2_bagfile_information: {{compression_mode: *a9}}\n",
    "merges": f"{MERGES}rosbag2_bagfile_information: *a9\n",
    "nested": "[" * 900_000,
    "long": "x" * 50_000_000,
    "tag": "!!python/object/apply:os.system ['true']",
}


@pytest.mark.parametrize("kind", YAML_BOMBS)
def test_metadata_is_no_bomb(tmp_path: Path, kind: str) -> None:
    path = sqlite_bag(tmp_path / "bag").parent
    (path / "metadata.yaml").write_text(YAML_BOMBS[kind])
    done = command("bag", "info", path)
    assert done.returncode == 0 and "100 messages" in done.stdout and len(done.stdout) < 2000, done
    assert command("bag", "repair", path).returncode == 0


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_profiles_are_no_bomb(tmp_path: Path, storage: str) -> None:
    if storage == "mcap":
        path = write_mcap(tmp_path / "bag.mcap", WORDS, qos=f"{MERGES}- *a9\n")
    else:
        path = sqlite_bag(tmp_path / "bag").parent
        with sqlite3.connect(path / "bag.db3") as database:
            database.execute("UPDATE topics SET offered_qos_profiles = ?", (f"{MERGES}- *a9\n",))
        database.close()
    one_line(command("bag", "info", path), "QoS profiles")
    assert "100 messages" in command("bag", "repair", path).stdout


# --- files that are none, and databases that are programs -------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.mcap", "x.db3", "x.mcap.zstd"])
@pytest.mark.parametrize("lone", [True, False], ids=["file", "folder"])
def test_a_pipe_or_a_device_is_no_bag(tmp_path: Path, name: str, lone: bool) -> None:
    folder = tmp_path / "bag"
    folder.mkdir()
    os.mkfifo(folder / name)
    both(folder / name if lone else folder, f"{name} is not a regular file")
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    both(folder / name if lone else folder, f"{name} is not a regular file")


def test_metadata_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = sqlite_bag(tmp_path / "bag").parent
    (path / "metadata.yaml").unlink()
    os.mkfifo(path / "metadata.yaml")
    done = command("bag", "info", path)
    assert done.returncode == 0 and "metadata.yaml is not a regular file" in done.stdout


ENDLESS = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)"
PROGRAMS = {
    "view": (
        f"DROP TABLE messages; CREATE VIEW messages AS {ENDLESS} SELECT id, 1 topic_id, id timestamp, x'00' data FROM n"
    ),
    "view beside": f"DROP TABLE schema; CREATE VIEW schema AS {ENDLESS} SELECT max(id) schema_version FROM n",
    "trigger": "CREATE TRIGGER t AFTER INSERT ON messages BEGIN DELETE FROM topics; END",
    "computed column": (
        "DROP TABLE messages; CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp,"
        "data AS (zeroblob(900000000))); INSERT INTO messages(topic_id, timestamp) VALUES (1, 1)"
    ),
    "virtual table": "CREATE VIRTUAL TABLE more USING fts5(text)",
}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_database_is_no_program(tmp_path: Path, kind: str) -> None:
    file = sqlite_bag(tmp_path / "bag")
    database = sqlite3.connect(file)
    try:
        database.executescript(PROGRAMS[kind])
    except sqlite3.OperationalError as error:
        pytest.skip(f"this SQLite lacks it: {error}")
    database.commit()
    database.close()
    both(file.parent, "a bag")


def test_pages_that_lead_in_circles_end(tmp_path: Path) -> None:
    """An inner page whose children are all the same one makes many rows of few."""
    file = sqlite_bag(tmp_path / "bag", [text * 40 for text in WORDS] * 20)
    data = bytearray(file.read_bytes())
    with sqlite3.connect(file) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchone()
    database.close()
    begin = (root - 1) * 4096
    assert data[begin] == 5, "an inner page"
    (cells,) = struct.unpack_from(">H", data, begin + 3)
    for k in range(cells):
        (cell,) = struct.unpack_from(">H", data, begin + 12 + 2 * k)
        struct.pack_into(">I", data, begin + cell, root)
    file.write_bytes(data)
    for action in ("info", "repair"):
        done = command("bag", action, file.parent)
        assert done.returncode in (0, 2) and len(done.stderr.splitlines()) <= 1


def test_a_name_that_looks_like_a_url_is_a_name(tmp_path: Path) -> None:
    file = sqlite_bag(tmp_path / "bag")
    odd = tmp_path / "run #3 100%25?mode=rwc.db3"
    file.rename(odd)
    with open_bag(odd) as bag:
        assert bag.count == len(WORDS)


# --- what is shown ----------------------------------------------------------------------------------------------------

NAMES = [
    "/a[/foo]b",
    "/a\x1b]0;owned\x07b",
    "/\x1b[2J",
    "/\u202egnorw",
    "/[bold red]x",
    "/new\nline",
    "/" + "long" * 60,
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_whole_and_are_not_obeyed(tmp_path: Path, name: str) -> None:
    from vla_ros.core.printable import printable

    path = write_mcap(tmp_path / "bag.mcap", WORDS, topic=name)
    done = command("bag", "info", path)
    assert done.returncode == 0 and printable(name) in done.stdout.splitlines()
    odd = write_mcap(tmp_path / "odd.mcap", WORDS, topic=name, kind=CRATER, encoding="\x1b]0;x\x07", definition="")
    for said in (done, command("bag", "info", odd), command("bag", "repair", odd)):
        assert not any(sign in said.stdout + said.stderr for sign in "\x1b\x07\u202e")


@pytest.mark.parametrize("width", [0, 80, 300])
def test_a_listing_fits_and_cuts_no_name(tmp_path: Path, width: int) -> None:
    from vla_ros.bags.info import inspect
    from vla_ros.bags.listing import listing

    names = [
        "/camera/front/color/image_raw/compressed",
        "/joint_states",
        "/a_topic_with_a_long_name/that/goes/on/image",
    ]
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        from damaged_bags import TYPES, cdr

        for name in names:
            writer.write(writer.add_connection(name, STRING, typestore=TYPES), 1000, cdr("x"))
    with open_bag(tmp_path / "bag") as bag:
        topics = inspect(bag)
    found = {"bag": "bag", "storage": "mcap", "seconds": 0.0, "messages": 3, "metadata": "", "missing": []}
    lines = list(listing(found, topics, width))
    assert all(any(name in line for line in lines) for name in names)
    if width != 300:
        assert max(map(len, lines)) <= 80 and set(names) <= set(lines)
    else:
        assert len(lines) == 5 and all(STRING in line for line in lines[2:]), "a table"
