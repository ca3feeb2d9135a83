"""`vla-ros export`: convert bags to a dataset."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vla_ros.bags.episodes.assembly import EpisodeOptions
from vla_ros.bags.episodes.frames import BagReport, Reading, check_bag, read_frames
from vla_ros.bags.episodes.picture_sizes import picture_sizes
from vla_ros.bags.episodes.rate import fps_of_step
from vla_ros.bags.reading.reader import open_bag
from vla_ros.core.columns import columns_of
from vla_ros.core.errors import ConfigError, VlaRosError
from vla_ros.core.robot import RobotSpec
from vla_ros.core.streams.admission import check_instruction
from vla_ros.core.types import NS_PER_S
from vla_ros.datasets.formats import Layout, Writer, open_writer


class Ended(VlaRosError):
    """Raised if a signal ended an export; nothing was written."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}; nothing was written")
        self.number = number


@dataclass(slots=True)
class ExportReport:
    """What was exported, and what was left out."""

    bag_s: float = 0.0
    work_s: float = 0.0
    bags: list[BagReport] = field(default_factory=list)

    @property
    def left_out(self) -> Counter[str]:
        """Return the sum over all bags."""
        return sum((bag.left_out for bag in self.bags), Counter())

    @property
    def cuts(self) -> Counter[str]:
        """Return the sum over all bags."""
        return sum((bag.cuts for bag in self.bags), Counter())


def export(
    bags: Sequence[Path],
    robot: RobotSpec,
    options: EpisodeOptions,
    form: str,
    out: Path,
    *,
    lossless: bool = False,
    reading: Reading | None = None,
    asked: Sequence[int] = (),
) -> tuple[dict[str, Any], ExportReport]:
    """Write one dataset of all bags; return its writer's figures, and what was left out.

    asked: received signals that end the export; checked before each frame.
    ConfigError if there is no episode, or `out` cannot be written; Ended after a signal. Either leaves nothing behind.
    """
    report, started_s, reading = ExportReport(), time.monotonic(), reading or Reading()
    check_instruction(options.task)
    layout = dataset_layout(robot, options, lossless, bags, reading.remap)
    options = replace(options, step_s=1 / layout.fps)  # the dataset's exact rate: a rounded step would drift
    for path in bags:  # check all paths first: a typo must not cost an hour of work
        with open_bag(path) as bag:
            check_bag(bag, robot, options, reading)
    try:
        writer = open_writer(form, out, layout)
        try:
            _write(bags, robot, options, reading, writer, report, asked)
            figures = writer.close()
        except BaseException:
            writer.abandon()
            raise
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror or error}") from error
    report.work_s = time.monotonic() - started_s
    return figures, report


def dataset_layout(
    robot: RobotSpec,
    options: EpisodeOptions,
    lossless: bool,
    bags: Sequence[Path] = (),
    remap: Mapping[str, str] | None = None,
) -> Layout:
    """Return the dataset's columns and rate by the robot's contract, and picture sizes by it or by the bags."""
    fps = fps_of_step(robot.sync.history_step_s if options.step_s is None else options.step_s)
    sizes = picture_sizes(bags, robot, options.cameras or robot.camera_names, remap or {})
    return Layout(robot.name, fps, sizes, columns_of(robot), lossless)


def _write(
    bags: Sequence[Path],
    robot: RobotSpec,
    options: EpisodeOptions,
    reading: Reading,
    writer: Writer,
    report: ExportReport,
    asked: Sequence[int],
) -> None:
    first = 0  # episode numbers go on from bag to bag
    for path in bags:
        last, said = first - 1, BagReport(path)
        with open_bag(path) as bag:
            for frame in read_frames(bag, robot, options, reading, said, asked):
                last = first + frame.episode
                writer.add(replace(frame, episode=last))
            report.bag_s += (bag.end_ns - bag.start_ns) / NS_PER_S
        report.bags.append(said)
        first = last + 1
    if asked:
        raise Ended(asked[0])
    if not first:
        reasons = [f"{said.path}: no episode: {said.reason}" for said in report.bags]
        raise ConfigError("\n".join([*reasons, "no episode in any bag; nothing was written"]))
