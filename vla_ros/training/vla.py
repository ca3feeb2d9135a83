"""Action fine-tuning of a tiny vision-language model on demonstrations, into a complete model folder.

Each frame is learned from under several sentences (the expert is stateless, so every frame has plans for other tasks,
too): the images are read once, and the sentences branch off behind them. A head that exists only in training reads
privileged positions off the images, which teaches the encoder where things are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vla_ros.core.errors import ConfigError
from vla_ros.networks.policy_head import Actions
from vla_ros.networks.vla import DiscreteVLA
from vla_ros.policies.backbones import BackboneConfig
from vla_ros.policies.contract import CameraContract, PolicyContract
from vla_ros.policies.model_folder import ModelFolder, check_out
from vla_ros.policies.statistics import Statistics
from vla_ros.policies.vla import VLAFolder, joined
from vla_ros.policies.words import Words
from vla_ros.training.dataset import Demonstrations, load_demonstrations
from vla_ros.training.initial import initial_weights
from vla_ros.training.learning import learn, provenance
from vla_ros.training.loop import Trainer, beside
from vla_ros.training.speech import words_wrong
from vla_ros.training.tower import look_once, take_tower
from vla_ros.training.vla_batches import VLABatches, quantile_statistics, shortened
from vla_ros.training.vla_config import VLATraining
from vla_ros.training.vla_library_config import VLALibraryTraining
from vla_ros.training.vla_loss import VLALoss
from vla_ros.training.vocabulary import tabletop_words


def validate(module: VLALoss, batches: VLABatches) -> dict[str, float]:
    """On held-out episodes: mean error of the planned joints [rad], share of wrong gripper steps, of positions [m]."""
    module.eval()
    rng, figures = np.random.default_rng(0), []
    for _ in range(4):
        batch = beside(module, batches.draw(rng, "validation"))
        with torch.no_grad():
            seen = module.see(batch["pictures"])
            figures.append(plan_errors(module, batches, batch, seen) | answer_errors(module, batch, seen))
            if module.config.auxiliary:
                missed = (module.positions(seen) - batch["aux"].flatten(0, -2)).abs().cpu().numpy() * batches.aux_std
                figures[-1]["positions_mae"] = float(missed.mean())
    module.train()
    return {name: float(np.mean([found[name] for found in figures])) for name in figures[0]}


def plan_errors(module: VLALoss, batches: VLABatches, batch: dict[str, Tensor], seen: Tensor) -> dict[str, float]:
    """Mean error of the planned joints [rad], and share of wrong gripper steps."""
    vla = module.vla
    if isinstance(vla, DiscreteVLA):
        return {"words_loss": float(module(**batch)["words"])}
    return off(module.act(vla, seen, batch["state"], batch["ids"]), batch, batches.statistics)


def off(planned: Actions, batch: dict[str, Tensor], statistics: Statistics) -> dict[str, float]:
    """Mean error of planned joints [rad], and share of wrong gripper steps, against the `actions` that are `known`."""
    columns = ~statistics.relative
    got = torch.from_numpy(joined(planned, columns))
    error = ((got - batch["actions"].cpu()) * torch.from_numpy(statistics.action_std)).abs()
    if "known" in batch:
        error = error[batch["known"].cpu()]
    return {"plan_mae": float(error[..., ~columns].mean()), "gripper_wrong": float(error[..., columns].mean())}


def answer_errors(module: VLALoss, batch: dict[str, Tensor], seen: Tensor) -> dict[str, float]:
    """Share of wrong words in answers, each after the right ones before it."""
    if "questions" not in batch:
        return {}
    about = module.see(batch["now"]) if "now" in batch else seen
    about = torch.cat([module.see(batch["before"]), about], dim=1) if "before" in batch else about
    return {"words_wrong": words_wrong(module.vla.backbone, about, batch["questions"], batch["answers"])}


def folder_of(
    config: VLATraining | VLALibraryTraining, backbone: BackboneConfig, data: Demonstrations,
    provenance: dict[str, object],
) -> VLAFolder:  # fmt: skip
    """The config of the model folder to write."""
    cameras = tuple(CameraContract(name, x.shape[2], x.shape[1]) for name, x in data.images.items())
    contract = PolicyContract(
        cameras, tuple(data.meta["joints"]), data.meta["step_ns"] / 1e9, config.horizon, config.execute_steps
    )
    return VLAFolder(
        "vla", contract, config.formulation, backbone, config.head, config.window, "lift the red block",
        next(name for name in contract.joints if "gripper" in name),
        provenance=provenance,
    )  # fmt: skip


def start_from(module: VLALoss, config: VLATraining, words: Words) -> None:
    """Take over the weights of a trained folder that this network has, too: at least its whole backbone."""
    assert config.initial is not None  # mypy: asked by the caller
    given = initial_weights(config.initial, words, config.loop.threads)
    wanted = module.vla.state_dict()
    shared = {name: value for name, value in given.items() if name in wanted and wanted[name].shape == value.shape}
    if absent := [name for name in wanted if name.startswith("backbone.") and name not in shared]:
        raise ConfigError(f"{config.initial}: its backbone is not that of this training; {absent[0]} is the first")
    module.vla.load_state_dict(shared, strict=False)


def train_vla(config: VLATraining, resume: bool) -> dict[str, float]:
    """Train and write the model folder; returns what it reached on held-out episodes."""
    check_out(config.out)
    torch.manual_seed(config.loop.seed)
    data = shortened(load_demonstrations(config.data), config.horizon)
    if not config.relabelled:
        data = replace(data, plans=data.plans[:, :1], plan_task=data.plan_task[:, :1])
    relative = np.array(["gripper" not in name for name in data.meta["joints"]])
    statistics, words = quantile_statistics(data, relative), tabletop_words()
    vla = folder_of(config, config.backbone, data, {}).build()
    module = VLALoss(config, vla, int(np.flatnonzero(~relative)[0]), data.aux.shape[1])
    if config.initial is not None:
        start_from(module, config, words)
    visual = None
    if config.tower is not None:
        take_tower(vla.backbone, config.tower, config.loop.threads)
        visual = look_once(vla.backbone, data, config.loop.run.parent)
    batches = VLABatches(config, data, statistics, words, visual)
    trainer = Trainer(module, config.loop)
    figures = learn(trainer, batches.draw, lambda net: validate(net, batches), resume)
    if not figures:
        return {}
    folder = folder_of(config, config.backbone, data, provenance(data, config, figures, trainer))
    ModelFolder.write(config.out, folder, trainer.result.vla, statistics, words)
    return figures
