"""Asks a Unified World Model in one flat call, for tests that ask many questions."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vla_ros.networks.uwm.question import Noise, Question, Sampling


def sample(model: Any, obs: Tensor | None, **asked: Any) -> tuple[Tensor, Tensor | None]:
    """`model.sample` with the fields of `Question`, `Sampling` and `Noise` (as action_noise, next_obs_noise)."""
    noise = {name: asked.pop(key) for name, key in NOISE.items() if key in asked}
    sampling = {name: asked.pop(name) for name in ("steps", "solver", "batch", "ignored") if name in asked}
    answer: tuple[Tensor, Tensor | None] = model.sample(obs, Question(**asked), Sampling(**sampling), Noise(**noise))
    return answer


NOISE = {"action": "action_noise", "next_obs": "next_obs_noise", "generator": "generator"}
