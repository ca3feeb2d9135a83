"""Training of the Unified World Model on demonstrations, into a complete model folder.

Two kinds of rows share one network. Plan rows: the expert's plan under a sentence, the future ignored. Joint rows: what
was executed and what was then seen, noised at independent timesteps (UWM equation 3). Two heads that exist only in
training, a plan by regression and privileged positions, teach the image encoder what diffusion alone teaches slowly.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vla_ros.core.contract import PolicyContract
from vla_ros.core.errors import ConfigError
from vla_ros.datasets.demonstrations import Demonstrations, labelled
from vla_ros.evaluation.answers import answer, columns, windows_at
from vla_ros.media.grid import grid
from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.networks.uwm.question import Question, Sampling
from vla_ros.networks.uwm.text import PADDING
from vla_ros.policies.loading import load_as
from vla_ros.policies.manifest import check_manifest
from vla_ros.policies.model_folder import ModelFolder, check_out
from vla_ros.policies.statistics import Statistics
from vla_ros.policies.uwm import UWMFolder, UWMPolicy
from vla_ros.policies.weights import FILE, load_weights
from vla_ros.training.config import UWMTraining
from vla_ros.training.data import load_data
from vla_ros.training.learning import learn, provenance
from vla_ros.training.loop import Trainer, beside, keep_freed_memory, processes
from vla_ros.training.uwm.autoencoder import load_autoencoder
from vla_ros.training.uwm.batches import BatchMaker, cached_features, cached_latents, measure


class UWMLoss(nn.Module):
    """The world model with its training-only heads; `forward` takes a batch of `BatchMaker`."""

    weight: Tensor

    def __init__(self, config: UWMTraining, auxiliary: int, weight: NDArray[np.floating[Any]] | None = None) -> None:
        super().__init__()
        network = config.network
        self.config = config
        self.uwm = UnifiedWorldModel(network)
        self.uwm.obs_encoder.vae.requires_grad_(False)
        # What takes no part must not wait for a gradient: several processes would wait for it with each other.
        if network.null_observation and not config.observation_dropout:
            self.uwm.null_obs.requires_grad_(False)
        if not config.joint_rows:
            self.uwm.noise_pred_net.freeze_future()
            if network.reader_width:
                self.uwm.frame_reader.requires_grad_(False)
        weight = np.ones(1) if weight is None else weight  # of the actions' errors, see `motion_weights`
        self.register_buffer("weight", torch.from_numpy(weight.astype(np.float32)), persistent=False)
        features = network.views * network.encoder.image_features
        if config.inverse:
            self.inverse = nn.Linear(network.obs_features, network.action_len * network.action_dim)
        if config.regression:
            self.regression = nn.Linear(network.obs_features, network.action_len * network.action_dim)
        if config.auxiliary:
            self.positions = nn.Sequential(nn.Linear(features, 128), nn.SiLU(), nn.Linear(128, auxiliary))
        if config.freeze_images:
            self.uwm.obs_encoder.img_encoder.requires_grad_(False)

    def forward(
        self, state: Tensor, tokens: Tensor, plans: Tensor, aux: Tensor, known: Tensor, images: Tensor | None = None,
        visual: Tensor | None = None, **windows: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Weighted losses by name; shapes as `BatchMaker.draw` gives them."""
        if visual is None:
            assert images is not None  # mypy: one of the two is there
            visual = self.uwm.obs_encoder.see(images)  # (B, V * features)
        losses = self._joint_losses(visual, state, tokens[:, 0], known, **windows) if windows else {}
        rows = (visual, state, tokens, plans, aux)
        return losses | self._plan_losses(*(row[known] for row in rows))

    def _joint_losses(
        self, visual: Tensor, state: Tensor, tokens: Tensor, known: Tensor, executed: Tensor, future: Tensor,
        current: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Both modalities at independent timesteps, of the rows with a window behind them."""
        config, joint = self.config, len(executed)
        told = torch.rand(joint, 1, device=tokens.device) >= config.sentence_dropout
        obs = self.uwm.obs_encoder(visual[:joint], state[:joint], torch.where(told, tokens[:joint], PADDING))
        seen = None
        if config.observation_dropout:
            seen = torch.rand(joint, device=obs.device) >= config.observation_dropout
        action_loss, future_loss = self.uwm.loss(
            obs, executed, future, current, action_known=known[:joint], obs_known=seen, edges=config.edges,
            action_weight=self.weight,
        )  # fmt: skip
        losses = {"joint_action": config.joint_action * action_loss, "future": config.future * future_loss}
        if config.inverse:
            named = self.inverse(self.uwm.told(obs, future, current)).view_as(executed)[known[:joint]]
            error = F.smooth_l1_loss(named, executed[known[:joint]], reduction="none") * self.weight
            losses["inverse"] = config.inverse * error.sum() / max(1, error.numel())
        return losses

    def _plan_losses(
        self, visual: Tensor, state: Tensor, tokens: Tensor, plans: Tensor, aux: Tensor
    ) -> dict[str, Tensor]:
        """The expert's plans under several sentences, by diffusion and by regression; privileged positions."""
        config, rows = self.config, torch.arange(len(tokens), device=tokens.device)[:, None]
        chosen = torch.randint(0, tokens.shape[1], (len(tokens), config.plan_rows), device=tokens.device)  # (B, R)
        if not config.regression:  # then only the chosen ones are needed
            tokens, plans = tokens[rows, chosen], plans[rows, chosen]
            chosen = torch.arange(config.plan_rows, device=tokens.device)[None]
        tasks = tokens.shape[1]
        many = [x.repeat_interleave(tasks, dim=0) for x in (visual, state)]
        obs = self.uwm.obs_encoder(*many, tokens.flatten(0, 1)).unflatten(0, (-1, tasks))  # (B, K, F)
        asked = obs[rows, chosen].flatten(0, 1), plans[rows, chosen].flatten(0, 1)
        losses = {"action": self.uwm.loss(*asked, action_weight=self.weight)[0]}
        if config.regression:
            error = F.smooth_l1_loss(self.regression(obs).view_as(plans), plans, reduction="none")
            losses["regression"] = config.regression * (error * self.weight).mean()
        if config.auxiliary:
            losses["positions"] = config.auxiliary * F.mse_loss(self.positions(visual), aux)
        return losses


def motion_weights(
    statistics: Statistics, floor: float, gripper: NDArray[np.bool_]
) -> NDArray[np.floating[Any]]:  # fmt: skip
    """(H, A) weights of the actions' squared errors: what errors a joint that hardly moves would have, were it to move.

    Normalised by its own deviation, such a joint, of which nothing can be foretold, was three quarters of the
    tabletop's action loss where the future is given. Its deviation is taken for `floor` times that of the median joint
    at the same step.
    """
    std = statistics.action_std
    least = floor * np.median(std[:, ~gripper], axis=1, keepdims=True)
    return np.square(std / np.maximum(std, least))


def validate(module: UWMLoss, batches: BatchMaker, statistics: Statistics) -> dict[str, float]:
    """On held-out episodes: error of sampled plans [rad], and of the sampled future against copying the present."""
    module.eval()
    config, uwm, rng = module.config, module.uwm, np.random.default_rng(0)
    batch = beside(module, batches.draw(rng, "validation"))
    std = torch.from_numpy(statistics.action_std).to(batch["state"].device)
    arm = torch.from_numpy(~batches.data.is_gripper).to(std.device)
    joint, sampling = config.joint_rows, Sampling(config.sampling_steps)
    with torch.no_grad():
        visual = batch["visual"] if "visual" in batch else uwm.obs_encoder.see(batch["images"])
        obs = uwm.obs_encoder(visual, batch["state"], batch["tokens"][:, 0])
        plan, _ = uwm.sample(obs, Question(("action",)), sampling)
        plan_mae = _error(plan, batch["plans"][:, 0], std, arm)
        if not joint:
            module.train()
            return {"plan_mae": plan_mae}
        now = batch["current"]
        _, forward = uwm.sample(obs[:joint], Question(("next_obs",), action=batch["executed"], current=now), sampling)
        _, video = uwm.sample(obs[:joint], Question(("next_obs",), current=now), sampling)
        inverse, _ = uwm.sample(obs[:joint], Question(("action",), next_obs=batch["future"], current=now), sampling)
    module.train()
    still = batch["current"][:, :, :, None].expand_as(batch["future"])
    assert forward is not None and video is not None  # mypy: next_obs was predicted
    mse = {"forward": forward, "video": video, "copy": still}
    mae = {"inverse": inverse, "policy": plan[:joint]}
    figures = {f"{name}_mse": float((latents - batch["future"]).square().mean()) for name, latents in mse.items()}
    errors = {f"{name}_mae": _error(got, batch["executed"], std, arm) for name, got in mae.items()}
    return {**figures, "plan_mae": plan_mae, **errors}


def _error(got: Tensor, wanted: Tensor, std: Tensor, arm: Tensor) -> float:
    """Mean absolute error of normalised actions [rad] of the columns `arm`, grippers left out."""
    return float(((got - wanted) * std)[..., arm].abs().mean())


def initial_weights(module: UWMLoss, folder: Path) -> None:
    """Start from a trained model folder: its observation encoder, or all of it."""
    config, model = module.config, module.uwm
    trained = load_as(folder, UWMPolicy, threads=config.loop.threads).model
    everything = config.initial_part == "all"
    wanted, given = (model, trained) if everything else (model.obs_encoder, trained.obs_encoder)
    weights = given.state_dict()
    if everything and not trained.config.reader_width:  # a reader that is put in changes nothing yet
        weights |= {name: w for name, w in model.state_dict().items() if name.startswith("frame_reader.")}
    try:
        wanted.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"{folder}: its weights are not those of this training: {error}") from None


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
    if config.auxiliary and not data.aux.shape[1]:
        raise ConfigError(f"{config.data}: holds no privileged positions; right would be auxiliary: 0")
    autoencoder = load_autoencoder(config.autoencoder)
    statistics = known_statistics(config, data)
    weight = motion_weights(statistics, config.motion_floor, data.is_gripper)
    module = UWMLoss(config, data.aux.shape[1], weight)
    if config.initial is not None:
        initial_weights(module, config.initial)
    if config.reader is not None:
        check_manifest(config.reader, complete=False)
        load_weights(module.uwm.frame_reader, config.reader / FILE)
    module.uwm.obs_encoder.vae.load_state_dict(autoencoder.state_dict())
    with processes().main_process_first():  # the others then read what it has written
        latents = cached_latents(data, autoencoder, config.loop.run) if config.joint_rows else None
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
    config: UWMTraining, contract: PolicyContract, model: UnifiedWorldModel, statistics: Statistics,
    origin: dict[str, object],
) -> None:  # fmt: skip
    """A complete model folder: config, weights, statistics. The card is written by `vla-ros eval --card`."""
    folder = UWMFolder(
        "uwm", contract, config.network, config.future_steps, config.sampling_steps, provenance=origin
    )  # fmt: skip
    ModelFolder.write(config.out, folder, model, statistics)
