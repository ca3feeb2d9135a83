"""What RoboVLMs minimises (arXiv 2412.14058 and its official code): Huber on the pose, cross-entropy on the gripper."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from vla_ros.networks.vla.policy_head import Actions

GRIPPER_WEIGHT = 0.01  # the official code's; the paper leaves lambda open


@dataclass(frozen=True, slots=True)
class ActionLoss:
    """Means over the steps that the demonstration holds."""

    pose: Tensor
    gripper: Tensor
    gripper_weight: float = GRIPPER_WEIGHT

    @property
    def total(self) -> Tensor:
        """What to minimise."""
        return self.pose + self.gripper_weight * self.gripper


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` (..., K) over the steps where `mask` (...) is true; zero, with a gradient, where none is."""
    kept = values * mask[..., None].to(values.dtype)
    return kept.sum() / (mask.sum() * values.shape[-1]).clamp(min=1)


def action_loss(
    predicted: Actions, pose: Tensor, gripper: Tensor, mask: Tensor, gripper_weight: float = GRIPPER_WEIGHT
) -> ActionLoss:
    """Compare with the demonstration, where it goes on.

    pose: (..., chunk, A - 1) normalised; gripper: (..., chunk) 0 or 1; mask: (..., chunk), true where a step is real.
    """
    huber = F.huber_loss(predicted.pose, pose, reduction="none", delta=1.0)
    logits = predicted.gripper_logit
    entropy = F.binary_cross_entropy_with_logits(logits, gripper[..., None].to(logits.dtype), reduction="none")
    return ActionLoss(masked_mean(huber, mask), masked_mean(entropy, mask), gripper_weight)
