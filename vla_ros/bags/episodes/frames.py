"""Reads the frames of one bag, and reports what was left out or cut, and why there is no episode."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vla_ros.bags.contract_topics import CLOCK_TOPIC, by_contract
from vla_ros.bags.episodes.assembly import EpisodeOptions, EpisodeReader, Frame
from vla_ros.bags.inputs import Skip, check_inputs, check_kinds, marked_spans, names, output_kinds, timed
from vla_ros.bags.reading.reader import Bag
from vla_ros.core.errors import ConfigError, VlaRosError
from vla_ros.core.robot import RobotSpec
from vla_ros.core.streams.admission import check_instruction
from vla_ros.ros.ingest import INSTRUCTION


@dataclass(slots=True)
class BagReport:
    """The result of reading one bag.

    reason: why there was no episode. left_out: missing ticks, frames and messages, counted by reason. cuts: how often
    an episode fell into pieces, by reason; told: the first cuts of marked episodes, in words. bridged: frames that
    repeat the previous observation.
    """

    path: Path
    episodes: int = 0
    frames: int = 0
    bridged: int = 0
    reason: str = ""
    left_out: Counter[str] = field(default_factory=Counter)
    cuts: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reading:
    """How bags are read.

    sim_time: nodes used the time on `/clock`. strict: stop at a message that cannot be read; otherwise leave it out and
    count it. remap: contract name -> name on the bag. task_from_name: use a bag's name as the sentence if it has none.
    """

    sim_time: bool = False
    strict: bool = False
    remap: Mapping[str, str] = field(default_factory=dict)
    task_from_name: bool = False


def read_frames(
    bag: Bag,
    robot: RobotSpec,
    options: EpisodeOptions,
    reading: Reading | None = None,
    report: BagReport | None = None,
    asked: Sequence[int] = (),
) -> Iterator[Frame]:
    """Yield the frames of an open bag, in order, and fill `report`. Stop early once `asked` holds anything."""
    reading, report = reading or Reading(), report or BagReport(bag.path)
    bag, skip = by_contract(bag, robot, reading.remap), None if reading.strict else _skipping(report)
    options, sentence = _tasks(bag, robot, options, reading)
    spans = [] if options.split == "none" else marked_spans(bag, reading.sim_time, skip)
    reader = EpisodeReader(robot, options, spans, start_ns=bag.start_ns, sentence=sentence)
    _check(bag, robot, reader, options)
    episodes = set[int]()
    for topic, message, now_ns in timed(bag, reader.topics, reading.sim_time, skip):
        if asked:
            return
        for frame in reader.take(topic, message, now_ns):
            report.frames += 1
            episodes.add(frame.episode)
            yield frame
    reader.close()
    _tell(report, reader, len(episodes))
    if not episodes:
        report.reason = _reason(bag, reader, reading, options, spans)


def check_bag(bag: Bag, robot: RobotSpec, options: EpisodeOptions, reading: Reading) -> None:
    """Raise ConfigError if an open bag cannot be exported at all, before anything is read from it."""
    bag = by_contract(bag, robot, reading.remap)
    options, _ = _tasks(bag, robot, options, reading)
    _check(bag, robot, EpisodeReader(robot, options), options)


def task_from_name(path: Path) -> str:
    """Return the words of a bag's name, without date and number; empty if there are none.

    `pick_the_cube_2026_01_31-10_00_00` gives `pick the cube`.
    """
    stem = path.name
    while Path(stem).suffix in (".mcap", ".db3", ".zstd"):
        stem = Path(stem).stem
    words = [word for word in re.split(r"[_\-\s]+", stem) if word]
    while words and words[-1].isdecimal():
        words.pop()
    return "" if words == ["rosbag2"] else " ".join(words)


def _tasks(bag: Bag, robot: RobotSpec, options: EpisodeOptions, reading: Reading) -> tuple[EpisodeOptions, str]:
    """Return the options with the sentence that replaces a refused one, and the first sentence."""
    task = options.task or (check_instruction(task_from_name(bag.path)) if reading.task_from_name else "")
    spoken = any(topic.name == robot.instruction_topic and topic.count for topic in bag.topics)
    if reading.task_from_name and not (spoken or task):
        raise ConfigError(f"{bag.path}: --task-from-name: the name holds no words; --task 'SENTENCE' gives some")
    return replace(options, task=task), "" if spoken else task


def _check(bag: Bag, robot: RobotSpec, reader: EpisodeReader, options: EpisodeOptions) -> None:
    there = names(bag)
    needed = [s for s in reader.ingest.sources if s.topic in there or s.name != INSTRUCTION or not options.task]
    check_inputs(bag, robot, needed)
    outputs = output_kinds(robot, options.chunk_topic)
    check_kinds(bag, {topic: kind for topic, kind in outputs.items() if topic in reader.topics})


def _skipping(report: BagReport) -> Skip:
    """Return a callback that counts skipped messages by topic, with the first reason of each topic."""
    first: dict[str, str] = {}

    def skip(topic: str, error: VlaRosError) -> None:
        why = first.setdefault(topic, str(error).removeprefix(f"{topic}: "))
        report.left_out[f"messages on {topic} that cannot be read, the first: {why}"] += 1

    return skip


def _tell(report: BagReport, reader: EpisodeReader, episodes: int) -> None:
    report.episodes, report.bridged = episodes, reader.bridged
    report.left_out += reader.left_out + reader.evidence.counts()
    if reader.commanded.topics and reader.commanded.refused:
        report.left_out[f"commands refused, the last: {reader.commanded.error}"] += reader.commanded.refused
    report.cuts, report.told = reader.cuts.counted, reader.cuts.told


def _reason(bag: Bag, reader: EpisodeReader, reading: Reading, options: EpisodeOptions, spans: Sequence[object]) -> str:
    """Return why a bag gave no episode."""
    clock = any(topic.name == CLOCK_TOPIC and topic.count for topic in bag.topics)
    if reading.sim_time and not clock:
        return f"no message on {CLOCK_TOPIC}; without --sim-time the times of reception count"
    if not reader.observed:
        early = "images while no instruction was in force"
        late = "no instruction was in force while images came" if reader.left_out[early] else ""
        return reader.evidence.reason(reading.sim_time, clock) or late or reader.not_ready
    if not reader.ticks:
        good = "" if not options.only_successes else " that were marked as a success"
        return f"no observation lies within the marked episodes{good}; {len(spans)} are marked"
    if reader.left_out["ticks without a command"]:
        return reader.commanded.reason()
    return f"no {options.min_frames} observations follow each other a step apart"
