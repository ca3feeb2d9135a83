"""What a Unified World Model learns from a batch.

Two kinds of rows share one network. Plan rows: the expert's plan under a sentence, the future ignored. Joint rows: what
was executed and what was then seen, noised at independent timesteps (UWM equation 3). Two heads that exist only in
training, a plan by regression and privileged positions, teach the image encoder what diffusion alone teaches slowly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.networks.uwm.text import PADDING
from vla_ros.policies.statistics import Statistics
from vla_ros.training.uwm.config import Joint, UWMTraining


class UWMLoss(nn.Module):
    """The world model with its training-only heads; `forward` takes a batch of `BatchMaker`."""

    weight: Tensor

    def __init__(self, config: UWMTraining, auxiliary: int, weight: NDArray[np.floating[Any]] | None = None) -> None:
        super().__init__()
        self.config = config
        self.uwm = UnifiedWorldModel(config.network)
        weight = np.ones(1) if weight is None else weight  # of the actions' errors, see `motion_weights`
        self.register_buffer("weight", torch.from_numpy(weight.astype(np.float32)), persistent=False)
        self._add_heads(auxiliary)
        self._freeze()

    def _add_heads(self, auxiliary: int) -> None:
        """Make the heads that exist only in training; `auxiliary`: privileged numbers per frame."""
        network, joint, losses = self.config.network, self.config.joint, self.config.losses
        if joint is not None and joint.losses.inverse:
            self.inverse = nn.Linear(network.obs_features, network.action_len * network.action_dim)
        if losses.regression:
            self.regression = nn.Linear(network.obs_features, network.action_len * network.action_dim)
        if losses.auxiliary:
            features = network.views * network.encoder.image_features
            self.positions = nn.Sequential(nn.Linear(features, 128), nn.SiLU(), nn.Linear(128, auxiliary))

    def _freeze(self) -> None:
        """Freeze what takes no part: several processes would wait with each other for its gradient."""
        network, joint = self.config.network, self.config.joint
        self.uwm.obs_encoder.vae.requires_grad_(False)
        if network.null_observation and not (joint is not None and joint.observation_dropout):
            self.uwm.null_obs.requires_grad_(False)
        if joint is None:
            self.uwm.noise_pred_net.freeze_future()
            if network.reader_width:
                self.uwm.frame_reader.requires_grad_(False)
        if self.config.freeze_images:
            self.uwm.obs_encoder.img_encoder.requires_grad_(False)

    def forward(
        self,
        state: Tensor,
        tokens: Tensor,
        plans: Tensor,
        aux: Tensor,
        known: Tensor,
        images: Tensor | None = None,
        visual: Tensor | None = None,
        **windows: Tensor,
    ) -> dict[str, Tensor]:
        """Return weighted losses by name; shapes as `BatchMaker.draw` gives them."""
        if visual is None:
            assert images is not None  # mypy: one of the two is there
            visual = self.uwm.obs_encoder.see(images)  # (B, V * features)
        losses = {}
        if windows and self.config.joint is not None:
            losses = self._joint_losses(self.config.joint, (visual, state, tokens[:, 0]), known, **windows)
        rows = (visual, state, tokens, plans, aux)
        return losses | self._plan_losses(*(row[known] for row in rows))

    def _joint_losses(
        self,
        joint: Joint,
        seen: tuple[Tensor, Tensor, Tensor],
        known: Tensor,
        executed: Tensor,
        future: Tensor,
        current: Tensor,
    ) -> dict[str, Tensor]:
        """Noise both modalities at independent timesteps, of the rows with a window behind them."""
        rows = len(executed)
        visual, state, tokens = (part[:rows] for part in seen)
        known = known[:rows]
        told = torch.rand(rows, 1, device=tokens.device) >= joint.sentence_dropout
        obs = self.uwm.obs_encoder(visual, state, torch.where(told, tokens, PADDING))
        obs_known = None
        if joint.observation_dropout:
            obs_known = torch.rand(rows, device=obs.device) >= joint.observation_dropout
        action_loss, future_loss = self.uwm.loss(
            obs,
            executed,
            future,
            current,
            action_known=known,
            obs_known=obs_known,
            edges=joint.edges,
            action_weight=self.weight,
        )
        losses = {"joint_action": joint.losses.action * action_loss, "future": joint.losses.future * future_loss}
        if joint.losses.inverse:
            named = self.inverse(self.uwm.told(obs, future, current)).view_as(executed)[known]
            error = F.smooth_l1_loss(named, executed[known], reduction="none") * self.weight
            losses["inverse"] = joint.losses.inverse * error.sum() / max(1, error.numel())
        return losses

    def _plan_losses(
        self, visual: Tensor, state: Tensor, tokens: Tensor, plans: Tensor, aux: Tensor
    ) -> dict[str, Tensor]:
        """Learn the expert's plans under several sentences, by diffusion and by regression; privileged positions."""
        config, weights = self.config, self.config.losses
        rows = torch.arange(len(tokens), device=tokens.device)[:, None]
        chosen = torch.randint(0, tokens.shape[1], (len(tokens), config.plan_rows), device=tokens.device)  # (B, R)
        if not weights.regression:  # then only the chosen ones are needed
            tokens, plans = tokens[rows, chosen], plans[rows, chosen]
            chosen = torch.arange(config.plan_rows, device=tokens.device)[None]
        tasks = tokens.shape[1]
        many = [x.repeat_interleave(tasks, dim=0) for x in (visual, state)]
        obs = self.uwm.obs_encoder(*many, tokens.flatten(0, 1)).unflatten(0, (-1, tasks))  # (B, K, F)
        asked = obs[rows, chosen].flatten(0, 1), plans[rows, chosen].flatten(0, 1)
        losses = {"action": self.uwm.loss(*asked, action_weight=self.weight)[0]}
        if weights.regression:
            error = F.smooth_l1_loss(self.regression(obs).view_as(plans), plans, reduction="none")
            losses["regression"] = weights.regression * (error * self.weight).mean()
        if weights.auxiliary:
            losses["positions"] = weights.auxiliary * F.mse_loss(self.positions(visual), aux)
        return losses


def motion_weights(statistics: Statistics, floor: float, gripper: NDArray[np.bool_]) -> NDArray[np.floating[Any]]:
    """Return (H, A) weights of the actions' squared errors, smaller for joints that hardly move.

    Normalised by its own deviation, such a joint, which nothing can predict, made three quarters of the tabletop's
    action loss when the future is given. Take its deviation to be at least `floor` times that of the median joint at
    the same step.
    """
    std = statistics.action_std
    least = floor * np.median(std[:, ~gripper], axis=1, keepdims=True)
    weights: NDArray[np.floating[Any]] = np.square(std / np.maximum(std, least))
    return weights
