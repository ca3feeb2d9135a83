"""Training of the Unified World Model on demonstrations, into a complete model folder.

Two kinds of rows share one network. Plan rows: the expert's plan under a sentence, the future ignored. Joint rows: what
was executed and what was then seen, noised at independent timesteps (UWM equation 3). Two heads that exist only in
training, a plan by regression and privileged positions, teach the image encoder what diffusion alone teaches slowly.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from vla_ros.core.config import to_plain
from vla_ros.networks.uwm import UnifiedWorldModel
from vla_ros.policies.contract import CameraContract, PolicyContract
from vla_ros.policies.statistics import Statistics
from vla_ros.policies.uwm import UWMFolder, UWMModel
from vla_ros.policies.weights import FILE, save_weights
from vla_ros.training.autoencoder import load_autoencoder
from vla_ros.training.batches import BatchMaker, cached_latents, measure
from vla_ros.training.config import UWMTraining
from vla_ros.training.dataset import Demonstrations, load_demonstrations
from vla_ros.training.loop import Trainer


class UWMLoss(nn.Module):
    """The world model with its training-only heads; `forward` takes a batch of `BatchMaker`."""

    def __init__(self, config: UWMTraining, auxiliary: int) -> None:
        super().__init__()
        network = config.network
        self.config = config
        self.uwm = UnifiedWorldModel(network)
        self.regression = nn.Linear(network.obs_features, network.action_len * network.action_dim)
        self.positions = nn.Sequential(
            nn.Linear(network.views * network.encoder_features, 128), nn.SiLU(), nn.Linear(128, auxiliary)
        )

    def forward(
        self, images: Tensor, state: Tensor, tokens: Tensor, plans: Tensor, executed: Tensor, future: Tensor,
        current: Tensor, aux: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Weighted losses by name; shapes as `BatchMaker.draw` gives them."""
        config, tasks, joint = self.config, tokens.shape[1], len(executed)
        visual = self.uwm.obs_encoder.see(images)  # (B, V * features)
        many = [x.repeat_interleave(tasks, dim=0) for x in (visual, state)]
        obs = self.uwm.obs_encoder(*many, tokens.flatten(0, 1))  # (B K, F)
        target = plans.flatten(0, 1)  # (B K, H, A)
        regressed = self.regression(obs).view_as(target)
        obs = obs.view(-1, tasks, obs.shape[-1])  # (B, K, F)
        chosen = torch.randint(0, tasks, (len(obs), config.plan_rows), device=obs.device)  # (B, R)
        rows = torch.arange(len(obs), device=obs.device)[:, None]
        action, _ = self.uwm.loss(obs[rows, chosen].flatten(0, 1), plans[rows, chosen].flatten(0, 1))
        joint_action, joint_future = self.uwm.loss(obs[:joint, 0], executed, future, current)
        return {
            "action": action,
            "joint_action": 0.25 * joint_action,
            "future": config.future * joint_future,
            "regression": config.regression * F.smooth_l1_loss(regressed, target),
            "positions": config.auxiliary * F.mse_loss(self.positions(visual), aux),
        }


def validate(module: UWMLoss, batches: BatchMaker, statistics: Statistics) -> dict[str, float]:
    """On held-out episodes: error of sampled plans [rad], and of the sampled future against copying the present."""
    module.eval()
    config, rng = module.config, np.random.default_rng(0)
    batch = batches.draw(rng, "validation")
    with torch.no_grad():
        uwm, joint = module.uwm, len(batch["executed"])
        obs = uwm.encode(batch["images"], batch["state"], batch["tokens"][:, 0])
        plan, _ = uwm.sample(obs, predict=("action",), steps=config.sampling_steps)
        error = (plan - batch["plans"][:, 0]) * torch.from_numpy(statistics.action_std)
        _, future = uwm.sample(
            obs[:joint], predict=("next_obs",), steps=config.sampling_steps, action=batch["executed"],
            current=batch["current"],
        )  # fmt: skip
        assert future is not None  # mypy: next_obs was predicted
        still = batch["current"][:, :, :, None].expand_as(batch["future"])
        inverse, _ = uwm.sample(
            obs[:joint], predict=("action",), steps=config.sampling_steps, next_obs=batch["future"],
            current=batch["current"],
        )  # fmt: skip
        inverse_error = (inverse - batch["executed"]) * torch.from_numpy(statistics.action_std)
        policy_error = (plan[:joint] - batch["executed"]) * torch.from_numpy(statistics.action_std)
    module.train()
    return {
        "plan_mae": float(error[..., :-1].abs().mean()),
        "future_mse": float(F.mse_loss(future, batch["future"])),
        "copy_mse": float(F.mse_loss(still, batch["future"])),
        "inverse_mae": float(inverse_error[..., :-1].abs().mean()),
        "policy_mae": float(policy_error[..., :-1].abs().mean()),
    }


def contract_of(config: UWMTraining, data: Demonstrations) -> PolicyContract:
    """Cameras, joints and time base, as the demonstrations have them."""
    cameras = tuple(CameraContract(name, x.shape[2], x.shape[1]) for name, x in data.images.items())
    step_s = data.meta["step_ns"] / 1e9
    return PolicyContract(cameras, tuple(data.meta["joints"]), step_s, config.network.action_len, config.execute_steps)


def train_uwm(config: UWMTraining, resume: bool) -> dict[str, float]:
    """Train and write the model folder; returns what it reached on held-out episodes."""
    torch.manual_seed(config.loop.seed)
    data = load_demonstrations(config.data)
    autoencoder = load_autoencoder(config.autoencoder)
    relative = np.array([name != "gripper_joint" for name in data.meta["joints"]])
    statistics = measure(data, relative)
    module = UWMLoss(config, data.aux.shape[1])
    trainer = Trainer(module, config.loop)
    latents = cached_latents(data, autoencoder, config.loop.run)
    batches = BatchMaker(config, data, statistics, latents)
    if resume:
        trainer.resume()
    rng = np.random.default_rng([config.loop.seed, trainer.step, trainer.accelerator.process_index])
    trainer.run(lambda _: batches.draw(rng), lambda net: validate(net, batches, statistics))
    figures = {**validate(trainer.result, batches, statistics), "steps": trainer.step}
    if trainer.accelerator.is_main_process:
        model = UWMModel(config.network, autoencoder.config)
        model.uwm.load_state_dict(trainer.result.uwm.state_dict())
        model.autoencoder.load_state_dict(autoencoder.state_dict())
        provenance = {
            "demonstrations": data.meta, "training": to_plain(config), "validation": figures,
            "seconds": round(trainer.seconds),
        }  # fmt: skip
        write_folder(config, contract_of(config, data), model, statistics, provenance)
    return figures


def write_folder(
    config: UWMTraining, contract: PolicyContract, model: UWMModel, statistics: Statistics,
    provenance: dict[str, object],
) -> None:  # fmt: skip
    """A complete model folder: config, weights, statistics. The card is written by `vla-ros eval --card`."""
    config.out.mkdir(parents=True, exist_ok=True)
    folder = UWMFolder(
        "uwm", contract, config.network, model.autoencoder.config, config.future_steps, config.sampling_steps,
        provenance,
    )  # fmt: skip
    (config.out / "config.yaml").write_text(yaml.safe_dump(to_plain(folder), sort_keys=False))
    save_weights(model, config.out / FILE)
    statistics.save(config.out)
