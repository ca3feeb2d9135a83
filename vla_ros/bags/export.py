"""Bags into a dataset: `vla-ros export`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vla_ros.bags.episodes import EpisodeReader, Frame, Options
from vla_ros.bags.formats import Layout, Writer, open_writer
from vla_ros.bags.marks import EPISODE_TOPIC, Span, spans_of
from vla_ros.bags.reader import Bag, decode, open_bag
from vla_ros.core.columns import columns_of
from vla_ros.core.errors import ConfigError
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import NS_PER_S
from vla_ros.ros.convert import to_ns
from vla_ros.ros.ingest import Source

CLOCK_TOPIC = "/clock"


@dataclass(slots=True)
class Report:
    """What an export took, and what it left out, counted by reason. seconds: of recording, and of work."""

    bag_s: float = 0.0
    work_s: float = 0.0
    left_out: Counter[str] = field(default_factory=Counter)


def timed(bag: Bag, topics: tuple[str, ...], sim_time: bool) -> Iterator[tuple[str, Any, int]]:
    """(topic, message, time of reception [ns]) in order, of `topics` that are on the bag.

    sim_time: the nodes lived by `/clock`; then a message was received at the last time that was said.
    """
    wanted = [topic for topic in topics if topic in names(bag)]
    now_ns: int | None = None
    for recorded in bag.messages(topics=[*wanted, CLOCK_TOPIC] if sim_time else wanted):
        if sim_time and recorded.topic == CLOCK_TOPIC:
            now_ns = to_ns(decode(recorded).clock)
        elif not sim_time:
            yield recorded.topic, decode(recorded), recorded.receive_ns
        elif now_ns is not None:
            yield recorded.topic, decode(recorded), now_ns


def names(bag: Bag) -> list[str]:
    """The topics on a bag."""
    return sorted({topic.name for topic in bag.topics})


def check_inputs(bag: Bag, robot: RobotSpec, sources: Iterable[Source]) -> None:
    """ConfigError where a bag lacks what a robot's policy must hear, or has something else under its name."""
    kinds = {topic.name: topic.type for topic in bag.topics}
    for source in sources:
        if source.topic not in kinds:
            raise ConfigError(
                f"{bag.path}: lacks {source.topic} of robot '{robot.name}'; it has {', '.join(names(bag)) or 'nothing'}"
            )
        right = f"{source.kind.__module__.split('.')[0]}/msg/{source.kind.__name__}"
        if kinds[source.topic] != right:
            raise ConfigError(f"{bag.path}: {source.topic} is {kinds[source.topic]}; right would be {right}")


def marked_spans(bag: Bag, sim_time: bool) -> list[Span]:
    """The episodes that are marked on the bag."""
    marks = [(now_ns, message.data) for _, message, now_ns in timed(bag, (EPISODE_TOPIC,), sim_time)]
    return spans_of(marks, 2**62)


def frames_of(bag: Bag, robot: RobotSpec, options: Options, sim_time: bool, left_out: Counter[str]) -> Iterator[Frame]:
    """The frames of a bag, in order."""
    reader = EpisodeReader(robot, options, marked_spans(bag, sim_time))
    check_inputs(bag, robot, reader.ingest.sources)
    for topic, message, now_ns in timed(bag, reader.topics, sim_time):
        yield from reader.take(topic, message, now_ns)
    yield from reader.close()
    left_out.update(reader.left_out)
    left_out.update({f"messages of {name} refused": count for name, count in reader.ingest.refused.items()})


def export(
    bags: list[Path], robot: RobotSpec, options: Options, form: str, out: Path, *, lossless: bool = False,
    sim_time: bool = False,
) -> tuple[dict[str, Any], Report]:  # fmt: skip
    """Write one dataset of all bags; the figures of its writer, and what was left out."""
    report, started_s = Report(), time.monotonic()
    writer = open_writer(form, out, layout_of(robot, options, lossless))
    try:
        _write(bags, robot, options, sim_time, writer, report)
        figures = writer.close()
    except BaseException:
        writer.abandon()
        raise
    report.work_s = time.monotonic() - started_s
    return figures, report


def layout_of(robot: RobotSpec, options: Options, lossless: bool) -> Layout:
    """The dataset's columns and rate, by the robot's contract."""
    step_s = options.step_s or robot.sync.history_step_s
    fps = round(1 / step_s)
    if abs(1 / step_s - fps) > 1e-6 * fps:
        raise ConfigError(f"a step of {step_s} s is {1 / step_s:.4g} frames a second; right would be a whole number")
    specs = [robot.camera(name) for name in options.cameras or robot.camera_names]
    return Layout(robot.name, fps, {c.name: (c.height, c.width) for c in specs}, columns_of(robot), lossless)


def _write(
    bags: list[Path], robot: RobotSpec, options: Options, sim_time: bool, writer: Writer, report: Report
) -> None:
    first = 0  # episode numbers go on from bag to bag
    for path in bags:
        last = first - 1
        with open_bag(path) as bag:
            for frame in frames_of(bag, robot, options, sim_time, report.left_out):
                last = first + frame.episode
                writer.add(replace(frame, episode=last))
            report.bag_s += (bag.end_ns - bag.start_ns) / NS_PER_S
        first = last + 1
