"""What comes of a bag, and what is said where little or nothing does: the reason first, and never a silent cut."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bag_files import Timed, steady, write_bag
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, Int32, String

from vla_ros.bags.episodes.assembly import EpisodeOptions, Frame
from vla_ros.bags.episodes.frames import BagReport, Reading, read_frames, task_from_name
from vla_ros.bags.reading.reader import BagError, open_bag
from vla_ros.bags.writer import BagWriter, Channel
from vla_ros.core.errors import ConfigError
from vla_ros.core.robot import load_robot
from vla_ros.ros.convert import array_to_joint_state, serialize, to_time, type_name

ROBOT = load_robot("ur5e_tabletop")
START = 10**18
S = 10**9
FRONT, WRIST = (camera.topic for camera in ROBOT.cameras)
STATES, WORDS, COMMANDS = ROBOT.joint_states_topic, ROBOT.instruction_topic, ROBOT.command.topic


def read(
    path: Path, messages: Iterable[Timed], options: EpisodeOptions | None = None, reading: Reading | None = None
) -> tuple[list[Frame], BagReport]:
    report = BagReport(path)
    with open_bag(write_bag(path, messages)) as bag:
        return list(read_frames(bag, ROBOT, options or EpisodeOptions(), reading, report)), report


def marked(messages: list[Timed], since_s: float, until_s: float, success: bool = True) -> list[Timed]:
    marks = ((since_s, {"event": "start"}), (until_s, {"event": "end", "success": success}))
    return messages + [(START + int(at_s * S), "/episode", String(data=json.dumps(mark))) for at_s, mark in marks]


def without(messages: list[Timed], frames: set[int], topics: Iterable[str] = (FRONT, WRIST)) -> list[Timed]:
    """Without some frames of the cameras."""
    gone = {(topic, START + k * S // 10) for topic in topics for k in frames}
    return [m for m in messages if not (isinstance(m[2], Image) and (m[1], stamp(m[2])) in gone)]


def stamp(message: Any) -> int:
    return message.header.stamp.sec * S + message.header.stamp.nanosec


# Why nothing came of it


def stamped(shift: Callable[[int], int]) -> list[Timed]:
    found = steady(ROBOT, 2)
    for _, _, message in found:
        if hasattr(message, "header") and isinstance(message, Image | JointState):
            message.header.stamp = to_time(shift(stamp(message)))
    return found


def in_parts() -> list[Timed]:
    found = []
    for now_ns, topic, message in steady(ROBOT, 2):
        if topic != STATES:
            found.append((now_ns, topic, message))
            continue
        for names in (ROBOT.joint_names[:6], ROBOT.joint_names[6:]):
            found.append((now_ns, topic, array_to_joint_state(names, [0.0] * len(names), stamp(message))))
    return found


def only(*left: str) -> list[Timed]:
    """Without the messages of some topics, which are on the bag all the same: long after everything else."""
    found = [m for m in steady(ROBOT, 2) if m[1] not in left]
    return found


def said(sentence: str) -> list[Timed]:
    return steady(ROBOT, 2, sentence=sentence)


CLOCK = [(START + k * S // 100, "/clock", Clock(clock=to_time(k * S // 100))) for k in range(200)]
SIM = Reading(sim_time=True)


class Case(NamedTuple):
    messages: list[Timed]
    why: str
    options: EpisodeOptions = EpisodeOptions()
    reading: Reading = Reading()


CASES = {
    "no stamps": Case(
        stamped(lambda _: 0),
        r"messages bear no stamp \(header.stamp is 0\): 20 of 20 messages on /front/image_raw, 20 of 20 .* on /wrist",
    ),
    "old stamps": Case(
        stamped(lambda ns: ns - 2 * S),
        r"stamps on /front/image_raw are 2.002 s or more older than their reception .* clocks of its machines synchro",
    ),
    "stamps of a simulator": Case(
        stamped(lambda ns: ns - START + S),
        "stamps on /front/image_raw are .* of another clock, perhaps a simulator's, and no /clock is on the bag",
    ),
    "stamps of a simulator, and its clock": Case(
        stamped(lambda ns: ns - START) + CLOCK, "the bag has /clock: --sim-time takes its time"
    ),
    "no clock": Case(steady(ROBOT, 2), "no message on /clock; without --sim-time the times of reception", reading=SIM),
    "stamps ahead": Case(
        stamped(lambda ns: ns + 60 * S), "20 of 20 messages on /front/image_raw were refused: .* in the future"
    ),
    "refused sentence": Case(
        said("reach\x07"),
        "1 of 1 messages on /instruction were refused: .*control characters.*; --task 'SENTENCE' replaces it",
    ),
    "empty sentence": Case(said(" "), "no instruction was in force while images came"),
    "joint states in parts": Case(
        in_parts(),
        "joint states come in parts: no message on /joint_states holds all joints of the contract, though together",
    ),
    "no commands": Case(only(COMMANDS), f"no command on {COMMANDS}; --actions chunk, or --actions state, needs none"),
    "no chunks": Case(steady(ROBOT, 2), "no chunk on /action_chunk; --actions state", EpisodeOptions(actions="chunk")),
    "no success": Case(
        marked(steady(ROBOT, 2), 0.2, 1.5, success=False),
        "no observation lies within the marked episodes that were marked as a success; 1 are marked",
        EpisodeOptions(only_successes=True),
    ),
    "marks elsewhere": Case(marked(steady(ROBOT, 2), 7.0, 8.0), "no observation lies within the marked episodes; 1"),
    "cameras never together": Case(
        without(without(steady(ROBOT, 2), set(range(10)), [FRONT]), set(range(10, 20)), [WRIST]), "camera 'wrist': "
    ),
    "too few": Case(steady(ROBOT, 0.2), "no 2 observations follow each other a step apart"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bag_of_which_nothing_came_says_why(tmp_path: Path, case: str) -> None:
    messages, why, options, reading = CASES[case]
    frames, report = read(tmp_path / "bag", messages, options, reading)
    assert frames == [] and report.episodes == 0

    assert re.search(why, report.reason), report.reason


@pytest.mark.parametrize(("topic", "why"), [(WORDS, "--task 'SENTENCE' gives one"), (FRONT, "lacks /front/image_raw")])
def test_a_topic_that_is_not_there_is_named(tmp_path: Path, topic: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read(tmp_path / "bag", only(topic))


def test_refused_commands_are_named(tmp_path: Path) -> None:
    messages = only(COMMANDS) + [(START + k * S // 100, COMMANDS, Float64MultiArray(data=[0.0])) for k in range(200)]
    _, report = read(tmp_path / "bag", messages)
    assert "200 messages on /joint_commands were refused: the command must hold 7 numbers, got 1" in report.reason
    assert any(why.startswith("commands refused") and count == 200 for why, count in report.left_out.items())


# Gaps


def test_a_lost_frame_or_two_are_bridged_and_counted(tmp_path: Path) -> None:
    messages = without(marked(steady(ROBOT, 4), 0.5, 3.5), {15, 25, 26})
    frames, report = read(tmp_path / "bag", messages)
    assert {frame.episode for frame in frames} == {0} and len(frames) == 30
    assert (report.episodes, report.bridged, dict(report.cuts), report.told) == (1, 3, {}, [])
    stamps = [frame.observation.stamp_ns for frame in frames]
    assert {b - a for a, b in pairwise(stamps)} == {S // 10}
    by_stamp = {round((frame.observation.stamp_ns - START) / 1e8): frame for frame in frames}
    assert by_stamp[15].observation.images["front"] is by_stamp[14].observation.images["front"]
    assert by_stamp[15].action[0] == pytest.approx(0.16 + 0.01, abs=2e-3), "the action is of its own time"


def test_a_lost_frame_of_one_camera_is_bridged_too(tmp_path: Path) -> None:
    _, report = read(tmp_path / "bag", without(marked(steady(ROBOT, 4), 0.5, 3.5), {15}, [WRIST]))
    assert (report.episodes, report.frames, dict(report.cuts)) == (1, 30, {})


def test_a_cut_is_counted_and_told(tmp_path: Path) -> None:
    messages = without(marked(steady(ROBOT, 4), 0.5, 3.5), {15, 16, 17})
    frames, report = read(tmp_path / "bag", messages)
    assert {frame.episode for frame in frames} == {0, 1}
    assert dict(report.cuts) == {"more than 2 ticks in a row without an observation": 1}
    assert report.told == [
        "the episode marked from 0.50 s to 3.50 s was cut at 1.50 s: more than 2 ticks in a row without an observation"
    ]
    assert report.left_out["ticks without an observation"] == 3
    assert read(tmp_path / "more", messages, EpisodeOptions(bridge=3))[1].episodes == 1
    assert read(tmp_path / "none", without(messages, {30}), EpisodeOptions(bridge=0))[1].cuts.total() == 2


def test_commands_that_pause_cut_and_are_told(tmp_path: Path) -> None:
    silent = range(START + 15 * S // 10, START + 22 * S // 10)
    messages = [m for m in marked(steady(ROBOT, 4), 0.5, 3.5) if not (m[1] == COMMANDS and m[0] in silent)]
    _, report = read(tmp_path / "bag", messages)
    assert report.episodes == 2 and dict(report.cuts) == {"ticks without a command": 1}
    assert "was cut at" in report.told[0] and "ticks without a command" in report.told[0]


def test_borders_that_are_wanted_are_no_cuts(tmp_path: Path) -> None:
    two = marked(marked(steady(ROBOT, 6), 0.5, 2.5), 3.0, 5.5)
    _, report = read(tmp_path / "marks", without(two, {26, 27, 28, 29}))
    assert report.episodes == 2 and not report.cuts
    words = [*steady(ROBOT, 4), (START + 2 * S, WORDS, String(data="push"))]
    gap = [m for m in words if not (m[1] == COMMANDS and START + 12 * S // 10 < m[0] < START + 205 * S // 100)]
    _, report = read(tmp_path / "words", gap, EpisodeOptions(split="instruction"))
    assert report.episodes == 2 and not report.cuts and report.left_out["ticks without a command"] > 0


def test_a_bag_without_marks_counts_its_cuts(tmp_path: Path) -> None:
    _, report = read(tmp_path / "bag", without(steady(ROBOT, 4), {15, 16, 17, 18}))
    assert report.episodes == 2 and report.cuts.total() == 1 and report.told == []


# Messages that cannot be read


def write_raw(path: Path, messages: Iterable[tuple[int, str, str, bytes]]) -> Path:
    writer = BagWriter(path)
    for receive_ns, topic, kind, data in sorted(messages):
        writer.add(Channel(topic, kind))
        writer.write(topic, receive_ns, data)
    writer.close()
    return path


@pytest.mark.parametrize("topic", [STATES, FRONT, COMMANDS, WORDS, "/episode"])
def test_one_message_that_cannot_be_decoded_is_skipped_and_counted(tmp_path: Path, topic: str) -> None:
    messages = marked(steady(ROBOT, 3), 0.5, 2.5)
    raw = [(ns, name, type_name(message), serialize(message)) for ns, name, message in messages]
    kind = next(one[2] for one in raw if one[1] == topic)
    path = write_raw(tmp_path / "bag", [*raw, (START + S, topic, kind, b"\x00\x01\x00\x00\xff\xff\xff\x7f")])
    report = BagReport(path)
    with open_bag(path) as bag:
        frames = list(read_frames(bag, ROBOT, EpisodeOptions(), Reading(), report))
    assert len(frames) == 20 and report.episodes == 1
    told = [(why, count) for why, count in report.left_out.items() if f"on {topic} that cannot be read" in why]
    assert [count for _, count in told] == [1] and "bytes are no" in told[0][0]
    with pytest.raises(BagError, match=f"{topic}: "), open_bag(path) as bag:
        list(read_frames(bag, ROBOT, EpisodeOptions(), Reading(strict=True)))


def test_a_mark_that_is_none_is_skipped_and_counted(tmp_path: Path) -> None:
    odd = (START + S, "/episode", String(data="half time"))
    frames, report = read(tmp_path / "bag", [*marked(steady(ROBOT, 3), 0.5, 2.5), odd])
    assert len(frames) == 20 and report.episodes == 1
    assert any("'half time' is not JSON" in why for why in report.left_out)


# Types


def test_a_foreign_episode_topic_is_named_with_a_way_out(tmp_path: Path) -> None:
    messages = [*steady(ROBOT, 2), (START + S, "/episode", Int32(data=3))]
    with pytest.raises(ConfigError, match=r"/episode is std_msgs/msg/Int32, not std_msgs/msg/String: .*--split none"):
        read(tmp_path / "bag", messages)
    assert read(tmp_path / "more", messages, EpisodeOptions(split="none"))[1].episodes == 1


@pytest.mark.parametrize("topic", [STATES, COMMANDS, "/episode", FRONT])
def test_two_types_on_one_topic_are_named(tmp_path: Path, topic: str) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_KILTED)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[tuple[str, str], Any] = {}
        messages = [*marked(steady(ROBOT, 2), 0.5, 1.5), (START, topic, Int32(data=1))]
        for receive_ns, name, message in sorted(messages, key=lambda m: m[0]):
            kind = type_name(message)
            if (name, kind) not in connections:
                connections[name, kind] = writer.add_connection(name, kind, typestore=types)
            writer.write(connections[name, kind], receive_ns, serialize(message))
    with (
        pytest.raises(ConfigError, match=f"{topic} has messages of 2 types .*std_msgs/msg/Int32"),
        open_bag(tmp_path / "bag") as bag,
    ):
        list(read_frames(bag, ROBOT, EpisodeOptions()))


def test_a_command_topic_of_another_type_is_named(tmp_path: Path) -> None:
    messages = [*only(COMMANDS), (START, COMMANDS, String(data="go"))]
    with pytest.raises(ConfigError, match="/joint_commands is std_msgs/msg/String, not std_msgs/msg/Float64MultiArray"):
        read(tmp_path / "bag", messages)


# Sentences


def test_a_bag_without_an_instruction_gets_the_task(tmp_path: Path) -> None:
    frames, report = read(tmp_path / "bag", only(WORDS), EpisodeOptions(task="stack the blocks"))
    assert len(frames) == 19 and {frame.observation.instruction for frame in frames} == {"stack the blocks"}
    frames, _ = read(tmp_path / "pick_the_cube_2026_01_31-10_00_00", only(WORDS), None, Reading(task_from_name=True))
    assert {frame.observation.instruction for frame in frames} == {"pick the cube"}
    assert report.reason == ""


def test_a_sentence_on_the_bag_counts_before_the_task(tmp_path: Path) -> None:
    frames, _ = read(tmp_path / "bag", said("reach"), EpisodeOptions(task="push"))
    assert {frame.observation.instruction for frame in frames} == {"reach"}
    frames, report = read(tmp_path / "refused", said("reach\x07"), EpisodeOptions(task="push"))
    assert {frame.observation.instruction for frame in frames} == {"push"} and len(frames) == 19
    assert any("messages on /instruction refused" in why for why in report.left_out)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("pick_the_cube", "pick the cube"),
        ("Open-drawer_003", "Open drawer"),
        ("fold towel.mcap", "fold towel"),
        ("wipe_2_tables_2026_11_30-21_50_00", "wipe 2 tables"),
        ("rosbag2_2026_11_30-21_50_00", ""),
        ("0001", ""),
        ("push_it_0.db3.zstd", "push it"),
    ],
)
def test_the_words_of_a_name(name: str, task: str) -> None:
    assert task_from_name(Path("somewhere") / name) == task


def test_a_name_without_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--task-from-name: the name holds no words"):
        read(tmp_path / "rosbag2_2026_11_30-21_50_00", only(WORDS), None, Reading(task_from_name=True))


# Names


def test_a_bag_of_a_namespace_is_read_by_the_contracts_names(tmp_path: Path) -> None:
    from vla_ros.bags.naming import CONTRACT_TOPICS, names_text

    there = {topic: f"/left{topic}" for topic in (FRONT, STATES, WORDS, COMMANDS, "/episode")}
    messages = [(ns, there.get(topic, topic), message) for ns, topic, message in marked(steady(ROBOT, 3), 0.5, 2.5)]
    other = [(START + k * S // 10, STATES, array_to_joint_state(["of", "another"], [1, 2], START)) for k in range(30)]
    told = (START, CONTRACT_TOPICS, String(data=names_text(there)))
    frames, report = read(tmp_path / "told", [*messages, *other, told])
    assert (len(frames), report.episodes) == (20, 1), report
    with pytest.raises(ConfigError, match=f"lacks {FRONT} .*; perhaps --remap {FRONT}:=/left{FRONT}"):
        read(tmp_path / "untold", messages)
    frames, _ = read(tmp_path / "said", messages, None, Reading(remap=there))
    assert len(frames) == 20
    with pytest.raises(ConfigError, match=r"remap: robot .* has no topic /joint_statez; did you mean '/joint_states'"):
        read(tmp_path / "wrong", messages, None, Reading(remap={"/joint_statez": "/x"}))


def test_relative_names_of_a_contract_are_found(tmp_path: Path) -> None:
    relative = replace(ROBOT, joint_states_topic="joint_states", instruction_topic="instruction")
    with open_bag(write_bag(tmp_path / "bag", steady(ROBOT, 2))) as bag:
        assert len(list(read_frames(bag, relative, EpisodeOptions()))) == 19


def test_a_bag_of_a_namespace_lacks_nothing_of_the_contract(tmp_path: Path) -> None:
    from vla_ros.bags.info import missing_topics
    from vla_ros.bags.naming import CONTRACT_TOPICS, names_text

    there = {topic: f"/left{topic}" for topic in (FRONT, WRIST, STATES, WORDS, COMMANDS)}
    messages = [(ns, there.get(topic, topic), message) for ns, topic, message in steady(ROBOT, 1)]
    with open_bag(write_bag(tmp_path / "untold", messages)) as bag:
        assert set(missing_topics(bag, ROBOT)) == set(there)
    told = (START, CONTRACT_TOPICS, String(data=names_text(there)))
    with open_bag(write_bag(tmp_path / "told", [*messages, told])) as bag:
        assert missing_topics(bag, ROBOT) == ()


@pytest.mark.parametrize("text", ["", "[1", "[]", '{"/joint_states": 3}', "[" * 100_000, '{"/etc": "/passwd"}'])
def test_nonsense_about_names_is_none(tmp_path: Path, text: str) -> None:
    from vla_ros.bags.naming import CONTRACT_TOPICS

    messages = [*steady(ROBOT, 2), (START, CONTRACT_TOPICS, String(data=text))]
    assert len(read(tmp_path / "bag", messages)[0]) == 19
