"""Real-time chunking on a diffusion head: a new chunk continues the plan that is being executed.

Black et al., "Real-Time Execution of Action Chunking Flow Policies" (arXiv 2506.07339). While a chunk is inferred, the
first actions of its span are executed from the old plan: they are frozen. The later ones are drawn towards the old
plan with decaying weight (the paper's soft mask, equation 5). Departures: the head is a diffusion, so what is guided is
its estimate of the clean chunk; and the Jacobian of that estimate is taken as the identity, which costs nothing and
holds frozen actions exactly. The free actions follow the frozen ones through the network at the next step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Prefix:
    """The plan under execution, at the new chunk's steps.

    actions: (B or 1, H, A), normalised as the network has them; where the weight is 0 they do not matter.
    weights: (H,) in [0, 1]; 1 holds an action, 0 leaves it free.
    """

    actions: Tensor
    weights: Tensor


def soft_mask(horizon: int, frozen: int, overlap: int) -> Tensor:
    """(H,) weights: 1 for the first `frozen` steps, decaying to 0 at step `overlap`, where the old plan ends."""
    if not 0 <= frozen <= overlap <= horizon:
        raise ValueError(f"must be 0 <= frozen <= overlap <= {horizon}, got frozen {frozen}, overlap {overlap}")
    step = torch.arange(horizon, dtype=torch.float32)
    left = ((overlap - step) / (overlap - frozen + 1)).clamp(0, 1)  # c_i of the paper
    return torch.where(step < frozen, 1.0, left * torch.expm1(left) / (math.e - 1))


def guided(
    prediction: Tensor, noisy: Tensor, alpha: Tensor, kind: Literal["epsilon", "sample"], prefix: Prefix
) -> Tensor:
    """The prediction (B, H, A) for `noisy` at cumulative `alpha`, its clean estimate drawn towards the prefix."""
    signal, noise = alpha.sqrt(), (1 - alpha).sqrt()
    clean = prediction if kind == "sample" else (noisy - noise * prediction) / signal
    clean = torch.lerp(clean, prefix.actions.expand_as(clean), prefix.weights[:, None].expand_as(clean))
    return clean if kind == "sample" else (noisy - signal * clean) / noise
