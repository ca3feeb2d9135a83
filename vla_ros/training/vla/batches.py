"""Batches for vision-language-action models: frames under many sentences, and histories under one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.datasets.conversations import Conversations, padded
from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.datasets.wordings import sentences_of
from vla_ros.networks.uwm.text import words_of
from vla_ros.policies.backbones.words import FIRST, UNKNOWN, Words
from vla_ros.policies.statistics import Statistics
from vla_ros.training.frames import frames_of
from vla_ros.training.vla.config import VLATraining

LOW, HIGH = 0.01, 0.99  # quantiles of the actions that become -1 and 1
MIN_HALF = 1e-3  # a column that spans less is constant


def quantile_statistics(data: Demonstrations) -> Statistics:
    """Quantiles of all plans as middle and half width, so that normalised poses are in [-1, 1]; see `clipped`.

    A gripper's -1 and 1 are the ends of its stroke, or where those are not known, of what it did.
    """
    relative = data.relative
    actions = data.differences(relative)
    low, high = np.quantile(actions[:: max(1, len(actions) // 20_000)], (LOW, HIGH), axis=0)
    middle, half = (high + low) / 2, np.maximum((high - low) / 2, MIN_HALF)
    for k, column in enumerate(data.columns):
        if column.kind == "gripper":
            lower, upper = column.stroke or (float(data.plans[..., k].min()), float(data.plans[..., k].max()))
            middle[:, k], half[:, k] = (upper + lower) / 2, max((upper - lower) / 2, MIN_HALF)
    rows = (data.state.mean(0), np.maximum(data.state.std(0), MIN_HALF), middle, half)
    return Statistics(tuple(data.meta["joints"]), relative, *(row.astype(np.float32) for row in rows))


def clipped(
    statistics: Statistics, data: Demonstrations, index: NDArray[np.int64], plan: NDArray[np.int64] | int
) -> Tensor:
    """The plans of frames (...), (..., H, A) in [-1, 1]; the gripper is -1 at its lower end, 1 at its upper."""
    actions = statistics.normalise_action(data.plans[index, plan], data.state[index])
    return torch.from_numpy(actions.clip(-1, 1).astype(np.float32))


def last_frames(data: Demonstrations) -> NDArray[np.int64]:
    """(N,): the last frame of each frame's episode."""
    ends = np.flatnonzero(np.diff(data.episode, append=-1))
    return ends[np.searchsorted(ends, np.arange(len(data.episode)))]


def history(
    first: NDArray[np.int64], window: int, stride: int, last: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Frames (B, W), `stride` apart from `first` (B,) on, and which of them their episode holds.

    last: of `last_frames`, which stand where an episode has ended.
    """
    frames = first[:, None] + np.arange(window) * stride
    index = np.minimum(frames, last[first][:, None])
    return index, frames == index


class VLABatches:
    """Draws frames, or windows of frames, with the expert's plans."""

    def __init__(
        self,
        config: VLATraining,
        data: Demonstrations,
        statistics: Statistics,
        words: Words,
        visual: NDArray[np.float16] | None = None,
    ) -> None:
        self.config, self.data, self.statistics, self.words, self.visual = config, data, statistics, words, visual
        self.sentences = [[words_of(sentence) for sentence in sentences_of(name)] for name in data.meta["tasks"]]
        self.talk = Conversations(data.aux, data.episode, words, config.questions, config.captions)
        self.aux_mean = data.aux.mean(0)
        self.aux_std = np.maximum(data.aux.std(0), MIN_HALF)
        training, validation = data.split(config.validation_share)
        self.frames = {"training": np.flatnonzero(training), "validation": np.flatnonzero(validation)}
        self.last = last_frames(data)

    def draw(self, rng: np.random.Generator, part: str = "training") -> dict[str, Tensor]:
        """A batch as `VLALoss` takes it."""
        return self.frames_apart(rng, part) if self.config.window == 1 else self.windows(rng, part)

    def frames_apart(self, rng: np.random.Generator, part: str) -> dict[str, Tensor]:
        """`loop.batch` frames, each under `sentences` of its relabelled tasks, and asked `questions`."""
        index = rng.choice(self.frames[part], self.config.loop.batch)
        plans = self.data.plan_task.shape[1]
        order = rng.permuted(np.tile(np.arange(plans), (len(index), 1)), axis=1)[:, : self.config.sentences]
        batch = self.seen(index) | self.wanted(index[:, None], order)
        batch["ids"] = self.ids(self.data.plan_task[index[:, None], order], rng, part == "training")
        return batch | self.asked(index, rng) if self.config.answers else batch

    def windows(self, rng: np.random.Generator, part: str) -> dict[str, Tensor]:
        """Histories of `window` frames, an execution apart, under their episode's sentence; `loop.batch` frames in all.

        A history begins anywhere in its episode; where the episode ends before it, the last frame stands, not `known`.
        """
        config = self.config
        first = rng.choice(self.frames[part], max(1, config.loop.batch // config.window))
        index, known = history(first, config.window, config.execute_steps, self.last)
        ids = self.ids(self.data.plan_task[first, 0], rng, part == "training")
        return self.seen(index) | self.wanted(index, 0) | {"known": torch.from_numpy(known), "ids": ids}

    def asked(self, index: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        """Questions and answers about frames; half of the batches are also told of an earlier moment, `before`.

        A share `judged` of the batches asks about other frames, `now`: whether their task has been done since.
        """
        if self.config.judged > 0 and rng.random() < self.config.judged:
            return self.judged(index, rng)
        if rng.random() < 0.5:
            return self.talk.draw(index, rng)
        then = self.talk.before(index, rng)
        return self.talk.draw(index, rng, then) | {"before": self.pictures(then)}

    def judged(self, index: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        """Of the same episodes, frames about when their task came to be done."""
        now = self.talk.endings(index, rng)
        then = self.talk.before(now, rng)
        tasks = [self.data.meta["tasks"][task] for task in self.data.task[now]]
        return self.talk.draw(now, rng, then, tasks) | {"before": self.pictures(then), "now": self.pictures(now)}

    def seen(self, index: NDArray[np.int64]) -> dict[str, Tensor]:
        """Frames (...): their pictures, and state (..., D), normalised."""
        state = {"state": torch.from_numpy(self.statistics.normalise_state(self.data.state[index]))}
        if self.config.auxiliary:
            aux = (self.data.aux[index] - self.aux_mean) / self.aux_std
            state["aux"] = torch.from_numpy(aux.astype(np.float32))
        return state | {"pictures": self.pictures(index)}

    def pictures(self, index: NDArray[np.int64]) -> Tensor:
        """(..., V, 3, H, W), or what the tower saw (..., V, F)."""
        return frames_of(self.data, index) if self.visual is None else torch.from_numpy(self.visual[index]).float()

    def wanted(self, index: NDArray[np.int64], plan: NDArray[np.int64] | int) -> dict[str, Tensor]:
        """The plans (..., H, A) in [-1, 1]; the gripper is -1 at its lower end, 1 at its upper."""
        return {"actions": clipped(self.statistics, self.data, index, plan)}

    def ids(self, tasks: NDArray[np.integer], rng: np.random.Generator, dropout: bool) -> Tensor:
        """(...) tasks -> (..., L): the ids of a random wording of each."""
        rows = []
        for task in tasks.reshape(-1).tolist():
            choices = self.sentences[task]
            row = self.words.encode(choices[rng.integers(len(choices))])
            if dropout:
                row = [token if rng.random() >= self.config.word_dropout else self.strange(rng) for token in row]
            rows.append(row)
        return padded(rows).reshape(*tasks.shape, -1)

    def strange(self, rng: np.random.Generator) -> int:
        """The unknown word, or some word out of place: one that is known from questions alone may stand in an order."""
        return UNKNOWN if rng.random() < 0.5 else int(rng.integers(FIRST, self.words.count))
