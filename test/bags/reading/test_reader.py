"""Bags of any origin are listed and read; damaged ones give an error that says what to do."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from vla_ros.bags.reading.reader import BagError, decode, open_bag
from vla_ros.bags.salvage.repair import repair
from vla_ros.bags.writer import BagWriter, Channel, Format

FOREIGN = Path(os.environ.get("FOREIGN_BAGS", Path(__file__).parents[3] / "shared" / "bags"))
TYPES = get_typestore(Stores.ROS2_KILTED)
STRING = "std_msgs/msg/String"


def write_bag(path: Path, storage: StoragePlugin, said: list[tuple[int, str]], topic: str = "/words") -> Path:
    """A bag of strings at their receive times."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connection = writer.add_connection(topic, STRING, typestore=TYPES)
        for receive_ns, text in said:
            writer.write(connection, receive_ns, TYPES.serialize_cdr(TYPES.types[STRING](text), STRING))
    return path


SAID = [(1000, "one"), (2000, "two"), (2500, "three"), (9000, "four")]


@pytest.mark.parametrize("storage", list(StoragePlugin), ids=lambda storage: storage.name)
@pytest.mark.parametrize("lone", [False, True], ids=["folder", "file"])
@pytest.mark.parametrize("metadata", [False, True], ids=["without metadata", "with metadata"])
def test_what_was_written_is_read(tmp_path: Path, storage: StoragePlugin, lone: bool, metadata: bool) -> None:
    path = write_bag(tmp_path / "bag", storage, SAID)
    if not metadata:
        (path / "metadata.yaml").unlink()
    if lone:
        path = next(file for file in path.iterdir() if file.suffix in (".mcap", ".db3"))
    with open_bag(path) as bag:
        assert [(one.receive_ns, decode(one).data) for one in bag.messages()] == SAID
        assert [decode(one).data for one in bag.messages(["/words"], 2000, 9000)] == ["two", "three"]
        assert list(bag.messages(["/other"])) == []
        assert [(topic.name, topic.type, topic.count) for topic in bag.topics] == [("/words", STRING, 4)]
        assert (bag.count, bag.start_ns, bag.storage) == (4, 1000, storage.name.lower())


def test_files_that_overlap_in_time_come_in_order(tmp_path: Path) -> None:
    first = write_bag(tmp_path / "one", StoragePlugin.MCAP, SAID[::2])
    second = write_bag(tmp_path / "two", StoragePlugin.MCAP, SAID[1::2])
    both = tmp_path / "both"
    both.mkdir()
    for bag in (first, second):
        shutil.copy(bag / f"{bag.name}.mcap", both)
    with open_bag(both) as bag:
        assert [decode(one).data for one in bag.messages()] == ["one", "two", "three", "four"]


def test_a_bag_without_messages_is_a_bag(tmp_path: Path) -> None:
    with open_bag(write_bag(tmp_path / "bag", StoragePlugin.MCAP, [])) as bag:
        assert bag.count == 0 and bag.duration_s == 0 and list(bag.messages()) == []


def test_a_type_that_is_not_installed_is_listed_and_copied_but_not_decoded(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3, SAID)
    with sqlite3.connect(path / "bag.db3") as database:
        database.execute("UPDATE topics SET type = 'moon_msgs/msg/Crater'")
    with open_bag(path) as bag:
        (first, *_) = bag.messages()
        assert bag.topics[0].type == "moon_msgs/msg/Crater" and first.data
        with pytest.raises(BagError, match="/words: the type moon_msgs/msg/Crater is not installed here"):
            decode(first)


def test_another_serialization_is_listed_and_refused_by_name(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3, SAID)
    with sqlite3.connect(path / "bag.db3") as database:
        database.execute("UPDATE topics SET serialization_format = 'protobuf'")
    with open_bag(path) as bag:
        assert bag.topics[0].serialization == "protobuf"
        with pytest.raises(BagError, match="/words is serialized as 'protobuf'; only 'cdr' can be read"):
            list(bag.messages())


def test_what_is_no_bag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="no such bag"):
        open_bag(tmp_path / "nothing")
    with pytest.raises(BagError, match=r"no bag; expected a rosbag2 folder"):
        open_bag(tmp_path)


@pytest.mark.parametrize("storage", list(StoragePlugin), ids=lambda storage: storage.name)
def test_a_damaged_bag_says_how_to_repair_it(tmp_path: Path, storage: StoragePlugin) -> None:
    path = write_bag(tmp_path / "bag", storage, SAID * 50)
    file = next(file for file in path.iterdir() if file.suffix in (".mcap", ".db3"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BagError, match="vla-ros bag repair"), open_bag(path) as bag:
        list(bag.messages())


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_repaired_bag_keeps_what_its_publishers_offered(tmp_path: Path, storage: Any) -> None:
    """A latched instruction must still be latched in a replay, or the policy never hears it."""
    kept, unset = (QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL), QosTime(0, 0)
    latched = Qos(*kept, unset, unset, QosLiveliness.AUTOMATIC, unset, False)
    writer = BagWriter(tmp_path / "bag", Format(storage))
    for channel in (Channel("/instruction", STRING, [latched]), Channel("/words", STRING)):
        writer.add(channel)
        writer.write(channel.topic, 1000, TYPES.serialize_cdr(TYPES.types[STRING]("push"), STRING))
    writer.close()
    path = repair(tmp_path / "bag").path
    with open_bag(path) as bag:
        assert {topic.name: topic.latched for topic in bag.topics} == {"/instruction": True, "/words": False}
        assert bag.count == 2
    with Reader(path) as reader:
        offered = {one.topic: one.ext.offered_qos_profiles for one in reader.connections}
    assert offered == {"/instruction": [latched], "/words": []}


@pytest.mark.parametrize("said", ["no: [yaml", None], ids=["damaged", "older than the column"])
def test_profiles_that_cannot_be_read_cost_no_message(tmp_path: Path, said: str | None) -> None:
    path = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3, SAID)
    with sqlite3.connect(path / "bag.db3") as database:
        if said is None:
            database.execute("ALTER TABLE topics DROP COLUMN offered_qos_profiles")
        else:
            database.execute("UPDATE topics SET offered_qos_profiles = ?", (said,))
    assert repair(path).messages == len(SAID)


@pytest.mark.skipif(not FOREIGN.is_dir(), reason=f"no bags of others in {FOREIGN}; FOREIGN_BAGS names another folder")
def test_bags_of_others_are_read_to_the_last_message() -> None:
    seen = {}
    for path in sorted(folder for folder in FOREIGN.iterdir() if folder.is_dir()):
        with open_bag(path) as bag:
            seen[path.name] = sum(1 for _ in bag.messages())
            assert seen[path.name] == bag.count > 0, path
            assert all(decode(one) is not None for one in bag.messages())
    assert seen
