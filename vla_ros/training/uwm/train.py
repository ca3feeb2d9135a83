"""Train a Unified World Model on demonstrations, into a complete model folder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vla_ros.core.contract import PolicyContract
from vla_ros.core.errors import ConfigError
from vla_ros.datasets.demonstrations import Demonstrations, labelled
from vla_ros.evaluation.answers import answer, columns, windows_at
from vla_ros.media.grid import grid
from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.networks.uwm.question import Question, Sampling
from vla_ros.policies.loading import load_as
from vla_ros.policies.manifest import check_manifest
from vla_ros.policies.model_folder import ModelFolder, check_out
from vla_ros.policies.statistics import Statistics
from vla_ros.policies.uwm import UWMFolder, UWMPolicy
from vla_ros.policies.weights import FILE, load_weights
from vla_ros.training.data import load_data
from vla_ros.training.learning import learn, provenance
from vla_ros.training.loop import Trainer, beside, keep_freed_memory, processes
from vla_ros.training.uwm.autoencoder import load_autoencoder
from vla_ros.training.uwm.batches import BatchMaker, cached_features, cached_latents, measure
from vla_ros.training.uwm.config import Start, UWMTraining
from vla_ros.training.uwm.loss import UWMLoss, motion_weights


def validate(module: UWMLoss, batches: BatchMaker, statistics: Statistics) -> dict[str, float]:
    """Return errors on held-out episodes: of sampled plans [rad], and of sampled futures beside copying the present."""
    module.eval()
    uwm, rng = module.uwm, np.random.default_rng(0)
    batch = beside(module, batches.draw(rng, "validation"))
    std = torch.from_numpy(statistics.action_std).to(batch["state"].device)
    arm = torch.from_numpy(~batches.data.is_gripper).to(std.device)
    sampling = Sampling(module.config.sampling_steps)
    with torch.no_grad():
        visual = batch["visual"] if "visual" in batch else uwm.obs_encoder.see(batch["images"])
        obs = uwm.obs_encoder(visual, batch["state"], batch["tokens"][:, 0])
        plan, _ = uwm.sample(obs, Question(("action",)), sampling)
        figures = {"plan_mae": _error(plan, batch["plans"][:, 0], std, arm)}
        if joint := module.config.joint_rows:
            mse, inverse = _validate_joint(uwm, obs[:joint], batch, sampling)
            mae = {"inverse": inverse, "policy": plan[:joint]}
            errors = {f"{name}_mae": _error(got, batch["executed"], std, arm) for name, got in mae.items()}
            figures = mse | figures | errors
    module.train()
    return figures


def _validate_joint(
    uwm: UnifiedWorldModel, obs: Tensor, batch: dict[str, Tensor], sampling: Sampling
) -> tuple[dict[str, float], Tensor]:
    """Return mean squared errors of futures, by question, and the actions that inverse dynamics answers."""
    now, true = batch["current"], batch["future"]
    _, forward = uwm.sample(obs, Question(("next_obs",), action=batch["executed"], current=now), sampling)
    _, video = uwm.sample(obs, Question(("next_obs",), current=now), sampling)
    inverse, _ = uwm.sample(obs, Question(("action",), next_obs=true, current=now), sampling)
    assert forward is not None and video is not None  # mypy: next_obs was predicted
    futures = {"forward": forward, "video": video, "copy": now[:, :, :, None].expand_as(true)}
    return {f"{name}_mse": float((got - true).square().mean()) for name, got in futures.items()}, inverse


def _error(got: Tensor, wanted: Tensor, std: Tensor, arm: Tensor) -> float:
    """Mean absolute error of normalised actions [rad] of the columns `arm`, grippers left out."""
    return float(((got - wanted) * std)[..., arm].abs().mean())


def initial_weights(module: UWMLoss, start: Start) -> None:
    """Load the weights of a trained model folder: its observation encoder, or all of it."""
    model = module.uwm
    trained = load_as(start.folder, UWMPolicy, threads=module.config.loop.threads).model
    everything = start.part == "all"
    wanted, given = (model, trained) if everything else (model.obs_encoder, trained.obs_encoder)
    weights = given.state_dict()
    if everything and not trained.config.reader_width:  # a reader that is put in changes nothing yet
        weights |= {name: w for name, w in model.state_dict().items() if name.startswith("frame_reader.")}
    try:
        wanted.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"{start.folder}: its weights are not those of this training: {error}") from None


def pictures(module: UWMLoss, batches: BatchMaker) -> dict[str, Tensor]:
    """Four held-out windows, a row each, as the first camera sees them: now, then, and what the model foresees."""
    config, known = module.config, batches.windows["validation"]
    if batches.latents is None:
        return {}
    index = known[np.linspace(0, len(known) - 1, 4).astype(np.int64)]
    rng = np.random.default_rng(0)
    windows = windows_at(batches.data, index, config.network.action_len, config.future_steps, rng)
    answers = answer(module.uwm, batches.statistics, windows, config.sampling_steps)
    shown = columns(module.uwm, windows, answers, camera=0)
    return {
        f"validation/{'_'.join(shown)}": torch.from_numpy(grid({name: x.cpu().numpy() for name, x in shown.items()}))
    }


def known_statistics(config: UWMTraining, data: Demonstrations) -> Statistics:
    """Statistics of the episodes whose actions are known."""
    known = labelled(data, config.labelled_share)
    return measure(replace(data, state=data.state[known], plans=data.plans[known]), data.relative)


def train_uwm(config: UWMTraining, resume: bool) -> dict[str, float]:
    """Train and write the model folder; returns what it reached on held-out episodes (nothing in other processes)."""
    check_out(config.out)
    torch.manual_seed(config.loop.seed)
    keep_freed_memory()
    data = load_data(config, config.network.action_len, config.relabelled)
    if config.losses.auxiliary and not data.aux.shape[1]:
        raise ConfigError(f"{config.data}: holds no privileged positions; set losses.auxiliary: 0")
    autoencoder = load_autoencoder(config.autoencoder)
    statistics = known_statistics(config, data)
    weight = motion_weights(statistics, config.losses.motion_floor, data.is_gripper)
    module = UWMLoss(config, data.aux.shape[1], weight)
    if config.start is not None:
        initial_weights(module, config.start)
    if config.reader is not None:
        check_manifest(config.reader, complete=False)
        load_weights(module.uwm.frame_reader, config.reader / FILE)
    module.uwm.obs_encoder.vae.load_state_dict(autoencoder.state_dict())
    with processes().main_process_first():  # the others then read what it has written
        latents = cached_latents(data, autoencoder, config.loop.run) if config.joint else None
        features = cached_features(data, module.uwm, config.loop.run) if config.freeze_images else None
    trainer = Trainer(module, config.loop)
    batches = BatchMaker(config, data, statistics, latents, features)
    figures = learn(
        trainer,
        batches.draw,
        lambda net: validate(net, batches, statistics),
        resume,
        lambda net: pictures(net, batches),
    )
    if not figures:
        return {}
    origin = provenance(data, config, figures, trainer)
    contract = data.contract(config.network.action_len, config.execute_steps)
    write_folder(config, contract, trainer.result.uwm, statistics, origin)
    return figures


def write_folder(
    config: UWMTraining,
    contract: PolicyContract,
    model: UnifiedWorldModel,
    statistics: Statistics,
    origin: dict[str, object],
) -> None:
    """A complete model folder: config, weights, statistics. The card is written by `vla-ros eval --card`."""
    folder = UWMFolder("uwm", contract, config.network, config.future_steps, config.sampling_steps, provenance=origin)
    ModelFolder.write(config.out, folder, model, statistics)
