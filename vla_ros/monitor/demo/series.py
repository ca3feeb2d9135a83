"""A series of episodes from first to last: the live line, pictures, and a report that is always current."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.streams.admission import check_instruction
from vla_ros.media.animations import Gallery
from vla_ros.monitor.demo.conductor import Graph, Pace, outcome, run_episode, wait_until_ready
from vla_ros.monitor.demo.episodes import DemoEpisode, DemoResult, Sentences, drawn, repeated, tour
from vla_ros.monitor.demo.progress import ProgressLine
from vla_ros.monitor.demo.report import series_report, write_json

SERIES = ("tour", "random")
FRAME_STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class Settings:
    """The user's settings.

    instruction: one sentence; empty runs the series.
    series: `tour`, or `random` for the episodes of `vla-ros eval`, without pictures.
    episodes: 0 means the whole tour, or one.
    """

    instruction: str
    series: str
    episodes: int
    seed: int
    time_limit_s: float
    out: Path

    def __post_init__(self) -> None:
        check_instruction(self.instruction)
        if self.series not in SERIES:
            raise ConfigError(f"series '{self.series}'{did_you_mean(self.series, SERIES)}")
        if self.episodes < 0 or self.seed < 0:
            raise ConfigError(f"episodes and seed must be >= 0, got {self.episodes} and {self.seed}")
        if not 0 < self.time_limit_s <= 600:
            raise ConfigError(f"time_limit_s must be > 0 and <= 600, got {self.time_limit_s:g}")

    @property
    def pictures(self) -> bool:
        """Whether to write animations."""
        return bool(self.instruction) or self.series == "tour"


def planned_episodes(
    settings: Settings, sentences: Sentences, families: Mapping[str, str], task: str
) -> list[DemoEpisode]:
    """Return the episodes; `sentences` and `families` by task, `task` the instruction's or empty."""
    if settings.instruction:
        return repeated(settings.instruction, task, settings.seed, settings.episodes)
    if settings.series == "random":
        return drawn(sentences, settings.seed, settings.episodes)
    return tour(sentences, families, settings.seed, settings.episodes)


def conduct(graph: Graph, episodes: Sequence[DemoEpisode], settings: Settings) -> list[DemoResult]:
    """Run `episodes`, writing `report.json` after each."""
    pace = Pace(limit_s=settings.time_limit_s)
    line = ProgressLine(len(episodes))
    gallery = Gallery(settings.out, FRAME_STEP_S)
    results: list[DemoResult] = []
    wait_until_ready(graph, pace, line.waiting)
    try:
        for line.index, episode in enumerate(episodes, start=1):
            result = run_episode(graph, episode, pace, line)
            results.append(result)
            line.ended(episode, outcome(result), result.seconds)
            gallery.add(line.index, episode.instruction, result.success, graph.take_frames())
            write_json(settings.out / "report.json", series_report(results, complete=len(results) == len(episodes)))
    finally:
        gallery.close()
    return results
