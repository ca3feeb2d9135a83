"""What may be asked of a Unified World Model, and how its answer is sampled.

| question | predict | given |
|---|---|---|
| policy p(a|o) | action | |
| video prediction p(o'|o) | next_obs | |
| forward dynamics p(o'|o,a) | next_obs | action |
| inverse dynamics p(a|o,o') | action | next_obs |
| joint p(a,o'|o) | action, next_obs | |
| unconditional video p(o'), an extension of ours | next_obs | no observation |

A modality that is neither given nor predicted is ignored: noise at the ignored timestep, drawn once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vla_ros.networks.uwm.config import Modality, Solver
from vla_ros.networks.uwm.guidance import Prefix

MODALITIES: tuple[Modality, Modality] = ("action", "next_obs")


@dataclass(frozen=True, slots=True)
class Question:
    """What to predict, and what is given.

    action: (B, H, A), next_obs: (B, V, C, T, h, w), clean, where they are given.
    current: (B, V, C, h, w) the latents of the present frames, for models that want them.
    prefix: the first actions, held (see `networks.uwm.guidance`).
    Raises ValueError for a modality that is both given and predicted.
    """

    predict: tuple[Modality, ...]
    action: Tensor | None = None
    next_obs: Tensor | None = None
    current: Tensor | None = None
    prefix: Prefix | None = None

    def __post_init__(self) -> None:
        if clash := [name for name in self.predict if self.given(name) is not None]:
            raise ValueError(f"{clash[0]} is both given and to be predicted")

    def given(self, name: Modality) -> Tensor | None:
        """Return what is given of a modality."""
        return self.action if name == "action" else self.next_obs

    def ignores(self, name: Modality) -> bool:
        """Tell whether a modality is neither given nor predicted."""
        return name not in self.predict and self.given(name) is None

    def fixed_timesteps(self, ignored: int) -> dict[Modality, int]:
        """Return the timestep of each modality that is not predicted: 0 if given, else `ignored`."""
        return {name: ignored if self.ignores(name) else 0 for name in MODALITIES if name not in self.predict}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample.

    batch: answers to draw where the inputs have one row. ignored: the timestep of an ignored modality; the config's
    by default.
    """

    steps: int
    solver: Solver = "ddim"
    batch: int | None = None
    ignored: int | None = None


@dataclass(frozen=True, slots=True)
class Noise:
    """The initial noise of either modality, shaped as it; what is None is drawn from `generator`."""

    action: Tensor | None = None
    next_obs: Tensor | None = None
    generator: torch.Generator | None = None

    def of(self, name: Modality) -> Tensor | None:
        """Return the noise of a modality."""
        return self.action if name == "action" else self.next_obs
