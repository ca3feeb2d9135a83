"""Batches of questions and answers about frames of demonstrations, as words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.datasets.changes import about_changes, check_of
from vla_ros.datasets.expert import AFTER_SUCCESS_STEPS
from vla_ros.datasets.questions import KINDS, Question, Scene, about_drawer, about_ends, about_order, caption
from vla_ros.networks.uwm.text import words_of
from vla_ros.policies.backbones.words import END, PADDING, Words
from vla_ros.sim.tabletop.tasks import TASKS

Positions = NDArray[np.float32]
ENDING_FRAMES, CLOSE_FRAMES = 8, 2  # before and after the moment when the task of an episode is done
LEGIBLE = (about_ends, about_order, about_drawer)  # kinds that a caption also answers


def padded(rows: Sequence[Sequence[int]], behind: bool = False) -> Tensor:
    """Return rows of ids, padded with PADDING in front (so that answers follow), or behind."""
    length = max(len(row) for row in rows)
    fill = [[PADDING] * (length - len(row)) for row in rows]
    return torch.tensor([[*row, *gap] if behind else [*gap, *row] for row, gap in zip(rows, fill, strict=True)])


def of_each_answer(found: Sequence[Question], rng: np.random.Generator) -> Question:
    """Draw an answer, then a question with it, so that rare answers are as likely as common ones."""
    answers = sorted({question.answer for question in found})
    answer = answers[rng.integers(len(answers))]
    kept = [question for question in found if question.answer == answer]
    return kept[rng.integers(len(kept))]


def of_some_kind(kinds: Sequence[Sequence[Question]], rng: np.random.Generator) -> Question | None:
    """Draw one question of a kind that has any; None if nothing can be asked."""
    found = [kind for kind in kinds if kind]
    return of_each_answer(found[rng.integers(len(found))], rng) if found else None


def ask(aux: Positions, rng: np.random.Generator, then: Positions | None = None) -> Question:
    """Draw a question of a random kind about a frame of positions `aux` (15,); half are on changes since `then`."""
    scene = Scene.of(aux)
    if then is not None and rng.random() < 0.5:
        changes = list(about_changes(Scene.of(then), scene))
        kinds = sorted({question.about for question in changes})
        asked = of_some_kind([[q for q in changes if q.about == kind] for kind in kinds], rng)
        return asked or caption(scene)
    return of_some_kind([list(about(scene)) for about in KINDS.values()], rng) or caption(scene)


def judge(aux: Positions, then: Positions, task: str) -> Question | None:
    """Return the question whether a task has been done since `then`; None if that is too close to call."""
    found = about_changes(Scene.of(then), Scene.of(aux))
    return next((question for question in found if question.text == check_of(TASKS[task])), None)


def ask_of_caption(aux: Positions, rng: np.random.Generator) -> Question:
    """Draw a question that the caption of a frame answers, or the question for the caption itself."""
    scene = Scene.of(aux)
    kinds = [[caption(scene)], *(list(about(scene)) for about in LEGIBLE)]
    return of_some_kind(kinds, rng) or caption(scene)


class Conversations:
    """Draws `count` questions about each of some frames; `captions` is the share of frames also described."""

    def __init__(self, aux: Positions, episode: NDArray[np.integer], words: Words, count: int, captions: float) -> None:
        self.aux, self.words, self.count, self.captions = aux, words, count, captions
        starts = np.flatnonzero(np.diff(episode, prepend=episode[0] - 1))
        self._first = starts[np.searchsorted(starts, np.arange(len(episode)), side="right") - 1]
        ends = np.append(starts[1:], len(episode)) - 1
        self._last = ends[np.searchsorted(ends, np.arange(len(episode)))]

    def before(self, index: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw for each frame an earlier one of its episode, half of the time the first."""
        first = self._first[index]
        between = first + (rng.random(len(index)) * (index - first + 1)).astype(np.int64)
        return np.where(rng.random(len(index)) < 0.5, first, between)

    def endings(self, index: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw for each frame one around the moment its episode's task was done; half of them next to it."""
        count = np.where(rng.random(len(index)) < 0.5, CLOSE_FRAMES, ENDING_FRAMES)
        frame = self._last[index] - AFTER_SUCCESS_STEPS + 1 + rng.integers(-count, count)
        return np.clip(frame, self._first[index], self._last[index])

    def draw(
        self,
        index: NDArray[np.int64],
        rng: np.random.Generator,
        then: NDArray[np.int64] | None = None,
        tasks: Sequence[str] = (),
    ) -> dict[str, Tensor]:
        """Return questions (B, Q, L) about frames (B,), and on changes since the frames `then`, with answers (B, Q, T).

        tasks: of each frame; if given, one question is whether the task has been done since.
        """
        pairs = []
        for row, frame in enumerate(index):
            past = None if then is None else self.aux[then[row]]
            pairs += [ask(self.aux[frame], rng, past) for _ in range(self.count)]
            if rng.random() < self.captions:
                pairs[-1] = caption(Scene.of(self.aux[frame]))
            if tasks and past is not None:
                pairs[-self.count] = judge(self.aux[frame], past, tasks[row]) or pairs[-self.count]
        return self.as_words(pairs, len(index))

    def read(self, index: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        """Return the same without pictures: `told` is the caption (B, T), and the questions are about it."""
        told = [self.words.encode(words_of(caption(Scene.of(self.aux[frame])).answer)) for frame in index]
        asked = [ask_of_caption(self.aux[frame], rng) for frame in index for _ in range(self.count)]
        return self.as_words(asked, len(index)) | {"told": torch.tensor(told)}

    def described(self, index: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return a caption of each frame."""
        return self.as_words([caption(Scene.of(self.aux[frame])) for frame in index], len(index))

    def as_words(self, pairs: Sequence[Question], rows: int) -> dict[str, Tensor]:
        """Return questions (rows, Q, L) and answers (rows, Q, T), each closed by END."""
        questions = padded([self.words.encode(words_of(pair.text)) for pair in pairs])
        answers = padded([[*self.words.encode(words_of(pair.answer)), END] for pair in pairs], behind=True)
        return {name: x.view(rows, -1, *x.shape[1:]) for name, x in (("questions", questions), ("answers", answers))}
