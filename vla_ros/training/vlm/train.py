"""Teaching a tiny vision-language model to speak of scenes, in LLaVA's stages, into a model folder of kind `vlm`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vla_ros.core.errors import ConfigError
from vla_ros.datasets.conversations import Conversations
from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.datasets.questions import CAPTION
from vla_ros.datasets.vocabulary import tabletop_words
from vla_ros.networks.vla.backbone import Backbone
from vla_ros.policies.backbones.words import Words
from vla_ros.policies.model_folder import ModelFolder, check_out
from vla_ros.policies.vlm import VLMFolder
from vla_ros.training.data import load_data
from vla_ros.training.initial_weights import initial_weights
from vla_ros.training.learning import learn, provenance
from vla_ros.training.loop import Trainer, beside
from vla_ros.training.vlm.config import LEARNS, VLMTraining
from vla_ros.training.vlm.loss import SpeechLoss, words_wrong
from vla_ros.training.vlm.tower import look_once, take_tower


class Lessons:
    """Draws what a stage learns from: words alone, captions of frames, or questions about them."""

    def __init__(
        self, config: VLMTraining, data: Demonstrations, words: Words, visual: NDArray[np.float16] | None
    ) -> None:
        self.config, self.visual = config, visual
        self.talk = Conversations(data.aux, data.episode, words, config.questions, config.captions)
        training, validation = data.split(config.validation_share)
        self.frames = {"training": np.flatnonzero(training), "validation": np.flatnonzero(validation)}

    def draw(self, rng: np.random.Generator, part: str = "training") -> dict[str, Tensor]:
        """A batch as `SpeechLoss` takes it."""
        index = rng.choice(self.frames[part], self.config.loop.batch)
        if self.config.stage == "words":
            return self.talk.read(index, rng)
        if self.config.stage == "align":
            return self.talk.described(index) | {"pictures": self.pictures(index)}
        then = self.talk.before(index, rng) if rng.random() < 0.5 else None
        batch = self.talk.draw(index, rng, then) | {"pictures": self.pictures(index)}
        return batch if then is None else batch | {"before": self.pictures(then)}

    def pictures(self, index: NDArray[np.int64]) -> Tensor:
        """(B, V, F): what the tower saw."""
        assert self.visual is not None  # mypy: of the stages that see
        return torch.from_numpy(self.visual[index]).float()


def train_vlm(config: VLMTraining, resume: bool) -> dict[str, float]:
    """Train a stage and write its model folder; returns the share of wrong words on held-out episodes."""
    check_out(config.out)
    torch.manual_seed(config.loop.seed)
    data, words = load_data(config), tabletop_words()
    if not data.aux.shape[1]:
        raise ConfigError(
            f"{config.data}: holds no privileged positions, of which captions, questions and answers are made; "
            "use a folder of 'vla-ros demos'"
        )
    model = folder_of(config, data, {}).build()
    backbone = model["backbone"]
    assert isinstance(backbone, Backbone)  # mypy: as `build` makes it
    if config.initial is not None:
        take_over(model, config.initial, config, words)
    take_tower(backbone, config.tower, config.loop.threads)
    visual = None if config.stage == "words" else look_once(backbone, data, config.loop.run.parent)
    told = (len(CAPTION.split()), len(data.images)) if config.stage == "words" else None
    module = SpeechLoss(backbone, LEARNS[config.stage], looked=True, told=told)
    lessons = Lessons(config, data, words, visual)
    trainer = Trainer(module, config.loop)
    figures = learn(trainer, lessons.draw, lambda net: validate(net, lessons), resume)
    if not figures:
        return {}
    folder = folder_of(config, data, provenance(data, config, figures, trainer))
    ModelFolder.write(config.out, folder, nn.ModuleDict({"backbone": trainer.result.backbone}), words)
    return figures


def take_over(model: nn.ModuleDict, folder: Path, config: VLMTraining, words: Words) -> None:
    """The weights of the stage before."""
    weights = initial_weights(folder, words, config.loop.threads)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"{folder}: its backbone is not that of this training: {error}") from None


def validate(module: SpeechLoss, lessons: Lessons) -> dict[str, float]:
    """Share of wrong words in answers about held-out episodes, each after the right ones before it."""
    module.eval()
    rng, wrong = np.random.default_rng(0), []
    with torch.no_grad():
        for _ in range(4):
            batch = beside(module, lessons.draw(rng, "validation"))
            seen = module.see(batch.get("pictures"), batch.get("before"), batch.get("told"))
            wrong.append(words_wrong(module.backbone, seen, batch["questions"], batch["answers"]))
    module.train()
    return {"words_wrong": float(np.mean(wrong))}


def folder_of(config: VLMTraining, data: Demonstrations, provenance: dict[str, object]) -> VLMFolder:
    """The config of the model folder to write."""
    return VLMFolder("vlm", data.contract(1, 1), config.backbone, provenance)
