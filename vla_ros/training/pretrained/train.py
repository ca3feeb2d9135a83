"""Action fine-tuning of a pretrained vision-language model of `transformers`, by LoRA or as a whole.

What is written is an ordinary model folder: adapters are merged into the weights, and config, tokenizer and image
processor of the backbone lie beside them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vla_ros.core.errors import ConfigError
from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.networks.vla.backbone import Backbone, load_backbone
from vla_ros.networks.vla.formulations import DiscreteVLA
from vla_ros.policies.backbones.pretrained import LibraryBackbone
from vla_ros.policies.backbones.saved import copy_backbone
from vla_ros.policies.model_folder import ModelFolder, check_out
from vla_ros.policies.statistics import Statistics
from vla_ros.training.data import load_data
from vla_ros.training.learning import learn, provenance
from vla_ros.training.loop import Trainer, beside, processes
from vla_ros.training.pretrained.batches import LibraryBatches, unflat
from vla_ros.training.pretrained.config import Pretrained, VLALibraryTraining
from vla_ros.training.pretrained.loss import VLALibraryLoss
from vla_ros.training.vla.batches import quantile_statistics
from vla_ros.training.vla.train import folder_of, gripper_of, off

BACKBONE = "backbone"  # folder of the backbone's config, tokenizer and image processor in a model folder


def described(pretrained: Pretrained) -> LibraryBackbone:
    """The backbone where it lies now."""
    return LibraryBackbone("library", pretrained.family, str(pretrained.folder), pretrained.form)


def load_pretrained(pretrained: Pretrained) -> Backbone:
    """The backbone with its weights, in float32 whatever they are stored in; ConfigError where they are not its."""
    described(pretrained).config(Path())  # refuses another family by name
    try:
        backbone = load_backbone(pretrained.family, pretrained.folder)
    except (OSError, ValueError) as error:
        raise ConfigError(f"pretrained: {str(error).splitlines()[0]}") from None
    return backbone.float()


def module_of(config: VLALibraryTraining, data: Demonstrations, backbone: Backbone) -> VLALibraryLoss:
    """The network to train, around the pretrained backbone."""
    folder = folder_of(config, described(config.pretrained), data, {})
    return VLALibraryLoss(config, folder.around(backbone), gripper_of(data))


def validate(module: VLALibraryLoss, batches: LibraryBatches) -> dict[str, float]:
    """On held-out episodes: mean error of the planned joints [rad] and share of wrong gripper steps; or words' loss."""
    module.eval()
    rng, figures, data = np.random.default_rng(0), [], batches.data
    for _ in range(4):
        batch = beside(module, batches.draw(rng, "validation"))
        with torch.no_grad():
            if isinstance(module.vla, DiscreteVLA):
                figures.append({"words_loss": float(module(**batch)["words"])})
                continue
            prompt = unflat(batch["ids"], batch["mask"], batch)
            figures.append(
                off(module.act(module.vla, prompt, batch["state"]), batch, batches.statistics, data.is_gripper)
            )
    module.train()
    return {name: float(np.mean([found[name] for found in figures])) for name in figures[0]}


def train_vla_library(config: VLALibraryTraining, resume: bool) -> dict[str, float]:
    """Train and write the model folder; returns what it reached on held-out episodes."""
    check_out(config.out)
    check_processes(config)
    torch.manual_seed(config.loop.seed)
    data = load_data(config, config.horizon)
    statistics = quantile_statistics(data)
    backbone = load_pretrained(config.pretrained)
    reader = described(config.pretrained).reader(Path(), backbone)
    module = module_of(config, data, backbone)
    batches = LibraryBatches(config, data, statistics, reader)
    trainer = Trainer(module, config.loop, lean=True)
    figures = learn(trainer, batches.draw, lambda net: validate(net, batches), resume)
    if not figures:
        return {}
    write(config, data, trainer.result, statistics, provenance(data, config, figures, trainer))
    return figures


def check_processes(config: VLALibraryTraining) -> None:
    """Several processes wait for each other's gradients of everything that learns, so that all of it must get some."""
    whole = config.lora is None and "vision" not in config.freeze
    if whole and config.pretrained.family != "paligemma" and processes().num_processes > 1:
        raise ConfigError(
            "a LLaVA leaves the last layers of its tower unread; for several processes set freeze: [vision], or lora"
        )


def write(
    config: VLALibraryTraining,
    data: Demonstrations,
    module: VLALibraryLoss,
    statistics: Statistics,
    origin: dict[str, object],
) -> None:
    """A complete model folder, which needs no peft: adapters are merged, in place."""
    if config.lora is not None:
        from vla_ros.training.pretrained.lora import merge  # peft is not needed for anything else

        merge(module)
    folder = folder_of(config, replace(described(config.pretrained), folder=BACKBONE), data, origin)
    pretrained = config.pretrained
    ModelFolder.write(
        config.out,
        folder,
        module.vla,
        statistics,
        fill=lambda part: copy_backbone(pretrained.folder, part / BACKBONE, pretrained.family),
    )
