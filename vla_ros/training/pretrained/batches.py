"""Batches for a library's vision-language model: histories of frames, as its own reader makes prompts of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.datasets.wordings import sentences_of
from vla_ros.networks.vla.backbone import Prompt
from vla_ros.policies.backbones.pretrained_reader import LibraryReader
from vla_ros.policies.backbones.prompts import one_behind_another
from vla_ros.policies.statistics import Statistics
from vla_ros.training.pretrained.config import VLALibraryTraining
from vla_ros.training.vla.batches import clipped, history, last_frames

VISION, ALIGNED = "vision_", "aligned_"  # what a prompt's tensors are called in a batch, which is flat


class LibraryBatches:
    """Draws windows of frames with the expert's plans, under their episode's sentence."""

    def __init__(
        self, config: VLALibraryTraining, data: Demonstrations, statistics: Statistics, reader: LibraryReader
    ) -> None:
        self.config, self.data, self.statistics, self.reader = config, data, statistics, reader
        self.sentences = [sentences_of(name) for name in data.meta["tasks"]]
        training, validation = data.split(config.validation_share)
        self.frames = {"training": np.flatnonzero(training), "validation": np.flatnonzero(validation)}
        self.last = last_frames(data)

    def draw(self, rng: np.random.Generator, part: str = "training") -> dict[str, Tensor]:
        """A batch as `VLALibraryLoss` takes it: B histories of W frames, `loop.batch` frames in all."""
        config = self.config
        first = rng.choice(self.frames[part], config.loop.batch // config.window)
        index, known = history(first, config.window, config.execute_steps, self.last)
        told = [self._wording(task, rng) for task in self.data.plan_task[first, 0].tolist()]
        return {
            "state": torch.from_numpy(self.statistics.normalise_state(self.data.state[index])),
            "actions": clipped(self.statistics, self.data, index, 0),
            "known": torch.from_numpy(known),
        } | self.prompts(index, told)

    def prompts(self, index: NDArray[np.int64], sentences: list[str]) -> dict[str, Tensor]:
        """Frames (B, W), each history under its sentence -> the tensors of a prompt of B W rows."""
        rows = [
            self.reader.prompt([images[frame] for images in self.data.images.values()], sentence)
            for frames, sentence in zip(index.tolist(), sentences, strict=True)
            for frame in frames
        ]
        return flat(one_behind_another(rows, self.reader.padding))

    def _wording(self, task: int, rng: np.random.Generator) -> str:
        choices = self.sentences[task]
        return choices[rng.integers(len(choices))]


def flat(prompt: Prompt) -> dict[str, Tensor]:
    """A prompt as a flat batch of tensors, as the loop moves them to its device."""
    vision = {VISION + name: value for name, value in prompt.vision.items()}
    aligned = {ALIGNED + name: value for name, value in prompt.aligned.items()}
    return {"ids": prompt.ids, "mask": prompt.mask} | vision | aligned


def unflat(ids: Tensor, mask: Tensor, parts: dict[str, Tensor]) -> Prompt:
    """The inverse of `flat`."""
    vision, aligned = (
        {name.removeprefix(kind): value for name, value in parts.items() if name.startswith(kind)}
        for kind in (VISION, ALIGNED)
    )
    return Prompt(ids, mask, vision, aligned)
