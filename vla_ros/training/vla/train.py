"""Action fine-tuning of a tiny vision-language model on demonstrations, into a complete model folder.

Each frame is learned from under several sentences (the expert is stateless, so every frame has plans for other tasks,
too): the images are read once, and the sentences branch off behind them. A head that exists only in training reads
privileged positions off the images, which teaches the encoder where things are.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.core.errors import ConfigError
from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.datasets.vocabulary import words_of_data
from vla_ros.datasets.wordings import sentences_of
from vla_ros.networks.vla.formulations import DiscreteVLA
from vla_ros.networks.vla.policy_head import Actions
from vla_ros.policies.backbones.tiny import BackboneConfig
from vla_ros.policies.backbones.words import Words
from vla_ros.policies.model_folder import ModelFolder, check_out
from vla_ros.policies.statistics import Statistics
from vla_ros.policies.vla import HeadSizes, VLAFolder, VLAFormulation, joined
from vla_ros.sim.tabletop.tasks import TASKS
from vla_ros.training.data import load_data
from vla_ros.training.initial_weights import initial_weights
from vla_ros.training.learning import learn, provenance
from vla_ros.training.loop import Trainer, beside
from vla_ros.training.vla.batches import VLABatches, quantile_statistics
from vla_ros.training.vla.config import VLATraining
from vla_ros.training.vla.loss import VLALoss
from vla_ros.training.vlm.loss import words_wrong
from vla_ros.training.vlm.tower import look_once, take_tower


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
    return off(module.act(vla, seen, batch["state"], batch["ids"]), batch, batches.statistics, batches.data.is_gripper)


def off(
    planned: Actions, batch: dict[str, Tensor], statistics: Statistics, gripper: NDArray[np.bool_]
) -> dict[str, float]:
    """Mean error of planned joints [rad], and share of wrong gripper steps, against the `actions` that are `known`."""
    got = torch.from_numpy(joined(planned, gripper))
    error = (got - batch["actions"].cpu()).abs()
    if "known" in batch:
        error = error[batch["known"].cpu()]
    arm = error * torch.from_numpy(statistics.action_std)
    return {"plan_mae": float(arm[..., ~gripper].mean()), "gripper_wrong": float(error[..., gripper].mean()) / 2}


def answer_errors(module: VLALoss, batch: dict[str, Tensor], seen: Tensor) -> dict[str, float]:
    """Share of wrong words in answers, each after the right ones before it."""
    if "questions" not in batch:
        return {}
    about = module.see(batch["now"]) if "now" in batch else seen
    about = torch.cat([module.see(batch["before"]), about], dim=1) if "before" in batch else about
    return {"words_wrong": words_wrong(module.vla.backbone, about, batch["questions"], batch["answers"])}


class Recipe(Protocol):
    """What the model folder of a VLA takes from its training's config."""

    @property
    def horizon(self) -> int:
        """Actions of a chunk."""
        ...

    @property
    def execute_steps(self) -> int:
        """Actions executed before the next chunk."""
        ...

    @property
    def formulation(self) -> VLAFormulation:
        """How the history enters."""
        ...

    @property
    def head(self) -> HeadSizes:
        """Sizes of the policy head."""
        ...

    @property
    def window(self) -> int:
        """Steps of history."""
        ...


def folder_of(
    config: Recipe,
    backbone: BackboneConfig,
    data: Demonstrations,
    provenance: dict[str, object],
) -> VLAFolder:
    """The config of the model folder to write."""
    contract = data.contract(config.horizon, config.execute_steps)
    return VLAFolder(
        "vla",
        contract,
        config.formulation,
        backbone,
        config.head,
        config.window,
        example_of(data),
        contract.joints[gripper_of(data)],
        provenance=provenance,
    )


def gripper_of(data: Demonstrations) -> int:
    """The column of the gripper, of which these models have exactly one."""
    found = np.flatnonzero(data.is_gripper)
    if len(found) != 1:
        names = ", ".join(data.meta["joints"][k] for k in found) or "none"
        raise ConfigError(f"a vision-language-action model moves one gripper, the data has {len(found)}: {names}")
    return int(found[0])


def example_of(data: Demonstrations) -> str:
    """A sentence that the model will obey: the tabletop's, or the data's first."""
    tasks = data.meta["tasks"]
    return "lift the red block" if all(task in TASKS for task in tasks) else sentences_of(tasks[0])[0]


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
    data = load_data(config, config.horizon, config.relabelled)
    check_positions(config, data)
    statistics, words = quantile_statistics(data), words_of_data(data)
    if words.count > config.backbone.room:
        raise ConfigError(
            f"backbone.vocabulary has room for {config.backbone.room} words, the data and the tabletop have "
            f"{words.count}; set it {words.count - config.backbone.room} higher"
        )
    vla = folder_of(config, config.backbone, data, {}).build()
    module = VLALoss(config, vla, gripper_of(data), data.aux.shape[1])
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


def check_positions(config: VLATraining, data: Demonstrations) -> None:
    """Where things are is known in the simulator only, and of that, what is asked about them."""
    for name in ("auxiliary", "answers"):
        if getattr(config, name) and not data.aux.shape[1]:
            raise ConfigError(f"{config.data}: holds no privileged positions; set {name}: 0")
