"""What a tiny vision-language-action model learns from a batch, in each of the four formulations, and from words."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_ros.networks.vla.action_loss import action_loss
from vla_ros.networks.vla.formulations import ContinuousVLA, DiscreteVLA
from vla_ros.networks.vla.policy_head import Actions
from vla_ros.policies.backbones.words import PADDING
from vla_ros.training.vla.config import VLATraining
from vla_ros.training.vlm.loss import pictures_seen, written_loss


class PositionReader(nn.Module):
    """Visual tokens -> privileged positions: each of `maps` softmaxes over the tokens picks what an MLP then reads."""

    def __init__(self, dim: int, positions: int, maps: int = 24) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.weigh = nn.Linear(dim, maps)
        self.take = nn.Linear(dim, 32)
        self.read = nn.Sequential(nn.Linear(maps * 32, 128), nn.GELU(), nn.Linear(128, positions))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, positions)."""
        tokens = self.norm(tokens)
        weights = self.weigh(tokens).softmax(dim=1)  # (B, N, maps)
        return self.read((weights.transpose(1, 2) @ self.take(tokens)).flatten(1))


class VLALoss(nn.Module):
    """The policy with its training-only head; `forward` takes a batch of `VLABatches`."""

    def __init__(self, config: VLATraining, vla: ContinuousVLA | DiscreteVLA, gripper: int, auxiliary: int) -> None:
        super().__init__()
        self.config, self.vla, self.gripper = config, vla, gripper
        if config.freeze_backbone:
            vla.backbone.requires_grad_(False)
        if config.auxiliary:
            self.positions = PositionReader(vla.backbone.dim, auxiliary)

    def forward(
        self,
        pictures: Tensor,
        state: Tensor,
        ids: Tensor,
        actions: Tensor,
        known: Tensor | None = None,
        aux: Tensor | None = None,
        questions: Tensor | None = None,
        answers: Tensor | None = None,
        before: Tensor | None = None,
        now: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses by name.

        Frames: state (B, D), ids (B, K, L), actions (B, K, H, A). Windows: state (B, W, D), ids (B, L), actions
        (B, W, H, A), known (B, W). pictures (..., V, 3, H, W), or (..., V, F) where the tower has seen them, and aux
        (..., P), of each frame; questions (B, Q, L) and answers (B, Q, T) of frames, or of those `now`, and since those
        `before`.
        """
        config, lead = self.config, state.shape[:-1]
        seen = self.see(pictures)  # (B, V N, D), of windows (B W, V N, D)
        if isinstance(self.vla, DiscreteVLA):
            losses = {"words": self._said(self.vla, seen, ids, actions)}
        else:
            losses = compared(self.act(self.vla, seen, state, ids), actions, known, self.gripper, config.gripper)
        if config.auxiliary:
            assert aux is not None  # mypy: the batches have it
            losses["positions"] = config.auxiliary * F.mse_loss(self.positions(seen).unflatten(0, lead), aux)
        if questions is not None and answers is not None:
            about = seen if now is None else self.see(now)
            about = about if before is None else torch.cat([self.see(before), about], dim=1)
            losses["answers"] = config.answers * written_loss(self.vla.backbone, about, questions, answers)
        return losses

    def see(self, pictures: Tensor) -> Tensor:
        """(..., V, 3, H, W), or (..., V, F) of a tower with a token a picture -> (N, V tokens, D), for the decoder."""
        return pictures_seen(self.vla.backbone, pictures, looked=self.config.tower is not None)

    def act(self, vla: ContinuousVLA, seen: Tensor, state: Tensor, ids: Tensor) -> Actions:
        """Chunks under each sentence, (B, K, chunk, .), or of each step of a window, (B, W, chunk, .)."""
        if state.dim() == 2:
            return vla.act_head(branch_features(vla, seen, state, ids)[:, :, None])
        steps = state.shape[1]
        if vla.formulation == "interleaved":
            return vla.act_head(interleaved_features(vla, seen, state, ids)[:, :, None])
        each = ids.repeat_interleave(steps, dim=0)[:, None]  # (B W, 1, L)
        features = branch_features(vla, seen, state.flatten(0, 1), each)
        return vla.act_head(features.unflatten(0, (-1, steps)))

    def _said(self, vla: DiscreteVLA, seen: Tensor, ids: Tensor, actions: Tensor) -> Tensor:
        return written_loss(vla.backbone, seen, ids, vla.tokens.encode(actions.flatten(2)))


def compared(got: Actions, actions: Tensor, known: Tensor | None, gripper: int, weight: float) -> dict[str, Tensor]:
    """Losses of chunks against the plans `actions` (..., H, A) in [-1, 1], of the steps `known` (...).

    gripper: its column; weight: of its cross-entropy beside the pose.
    """
    pose, opens = apart(actions, gripper)
    mask = torch.ones_like(opens, dtype=torch.bool)
    if known is not None:
        mask &= known[..., None]
    loss = action_loss(got, pose, opens, mask)
    return {"pose": loss.pose, "gripper": weight * loss.gripper}


def branch_features(vla: ContinuousVLA, seen: Tensor, state: Tensor, ids: Tensor) -> Tensor:
    """(B, K, D): the features at the action tokens behind the sentences (B, K, L)."""
    token = told(vla, state)[:, None, None].expand(-1, ids.shape[1], 1, -1)
    branches = torch.cat([vla.backbone.embed(ids), token], dim=2)
    mask = torch.cat([ids != PADDING, torch.ones_like(ids[..., :1], dtype=torch.bool)], dim=2)
    return vla.backbone.decode_apart(seen, branches, mask)[:, :, -1]


def interleaved_features(vla: ContinuousVLA, seen: Tensor, state: Tensor, ids: Tensor) -> Tensor:
    """(B, W, D): the features at the action tokens of one pass over images, sentence (B, L) and token of each step."""
    rows, steps = state.shape[:2]
    words = vla.backbone.embed(ids)[:, None].expand(-1, steps, -1, -1)  # (B, W, L, D)
    whole = torch.cat([seen.unflatten(0, (rows, steps)), words, told(vla, state)[:, :, None]], dim=2)
    there = torch.ones(rows, steps, whole.shape[2], dtype=torch.long, device=ids.device)
    there[:, :, -1 - ids.shape[1] : -1] = (ids != PADDING)[:, None]
    mask = there.flatten(1)
    hidden = vla.backbone.model.model.language_model(
        inputs_embeds=whole.flatten(1, 2),
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        use_cache=False,
    ).last_hidden_state
    return hidden.unflatten(1, (steps, -1))[:, :, -1]


def told(vla: ContinuousVLA, state: Tensor) -> Tensor:
    """(..., D): the action token, told where the joints are."""
    return vla.backbone.action_token + vla.state(state)


def apart(actions: Tensor, gripper: int) -> tuple[Tensor, Tensor]:
    """(..., A) in [-1, 1] -> pose (..., A - 1), and (...) how open the gripper is, 0 to 1."""
    pose = torch.cat([actions[..., :gripper], actions[..., gripper + 1 :]], dim=-1)
    return pose, (1 - actions[..., gripper]) / 2
