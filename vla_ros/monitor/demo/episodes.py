"""Which episodes run, and the result of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np

from vla_ros.monitor.latency import ChunkLatency

Sentences = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class DemoEpisode:
    """An episode to run.

    instruction: the sentence that the policy gets.
    task: the task that decides success; empty if the instruction belongs to none.
    seed: of the scene at the start.
    """

    instruction: str
    task: str
    seed: int


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The result of an episode.

    success: None if no task decides it.
    seconds: from arming, with the instruction in force, to success or the end.
    reason: why it ended early, else empty.
    """

    episode: DemoEpisode
    success: bool | None
    seconds: float
    chunks: tuple[ChunkLatency, ...] = ()
    reason: str = ""


def tour(sentences: Sentences, families: Mapping[str, str], seed: int, episodes: int = 0) -> list[DemoEpisode]:
    """Return every task once, alternating families. `episodes` shortens or extends the tour; 0 means each task once."""
    groups: dict[str, list[str]] = {}
    for task in sentences:
        groups.setdefault(families[task], []).append(task)
    order = [task for task in chain.from_iterable(zip_longest(*groups.values())) if task is not None]
    count = episodes or len(order)
    tasks = [order[index % len(order)] for index in range(count)]
    return [DemoEpisode(_wording(sentences[task], seed + i), task, seed + i) for i, task in enumerate(tasks)]


def drawn(sentences: Sentences, seed: int, episodes: int) -> list[DemoEpisode]:
    """Return the episodes that `vla-ros eval` runs for the same seeds: task and wording follow from the seed."""
    names = list(sentences)
    seeds = range(seed, seed + max(episodes, 1))
    return [DemoEpisode(_wording(sentences[names[s % len(names)]], s), names[s % len(names)], s) for s in seeds]


def repeated(instruction: str, task: str, seed: int, episodes: int) -> list[DemoEpisode]:
    """Return one sentence repeatedly, each time from another start."""
    return [DemoEpisode(instruction, task, seed + index) for index in range(max(episodes, 1))]


def _wording(sentences: Sequence[str], seed: int) -> str:
    return sentences[int(np.random.default_rng(seed).integers(len(sentences)))]
