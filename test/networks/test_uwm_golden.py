"""The denoiser and its sampler against tensors of the official code; weights by the rule of golden/README.md."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vla_ros.networks.uwm import UnifiedWorldModel, UWMConfig

GOLDEN = Path(os.environ.get("UWM_GOLDEN", Path(__file__).parents[3] / "shared" / "golden" / "uwm_tiny"))

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden tensors at {GOLDEN} (set UWM_GOLDEN)")


def ruled_weight(key: str, shape: list[int]) -> torch.Tensor:
    """The weight that golden/README.md prescribes for a name and shape."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    values = (rng.random(int(np.prod(shape))) * 2 - 1) * np.sqrt(3)
    if len(shape) > 1:
        values /= np.sqrt(max(1, values.size // shape[0]))
    else:
        values *= 0.1
        if key.endswith("weight"):
            values += 1
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "tensors.safetensors")


@pytest.fixture(scope="module")
def model() -> UnifiedWorldModel:
    size = json.loads((GOLDEN / "config.json").read_text())
    config = UWMConfig(
        views=size["views"], action_dim=size["action_dim"], action_len=size["action_len"], dim=size["embed_dim"],
        depth=size["depth"], heads=size["heads"], mlp_ratio=4.0, timestep_dim=size["temb"],
        registers=size["registers"], obs_features=size["views"] * 2 * size["embed_dim"],
        latent_size=size["crop"][0] // 8, patch=tuple(size["patch"]), prediction="epsilon", spacing="leading",
        clip_sample=True, ignored_timestep=90, drop_ignored_future=False, condition_on_current=False,
    )  # fmt: skip
    model = UnifiedWorldModel(config).eval()
    shapes = json.loads((GOLDEN / "state_dict_shapes.json").read_text())
    prefix = "noise_pred_net."
    weights = {k.removeprefix(prefix): ruled_weight(k, s) for k, s in shapes.items() if k.startswith(prefix)}
    model.noise_pred_net.load_state_dict(weights)  # strict: every official name and shape, and no other
    return model


def close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    return bool((actual - expected).abs().max() <= tolerance * expected.abs().max())


def test_one_call_of_the_network(model, golden):
    with torch.no_grad():
        action, next_obs = model.noise_pred_net(
            golden["obs_feat"], *(golden[f"net.{k}"] for k in ("action", "next_obs", "action_t", "next_obs_t"))
        )
    assert close(action, golden["net.action_eps"], 1e-4)
    assert close(next_obs, golden["net.next_obs_eps"], 1e-4)


@pytest.mark.parametrize(
    ("question", "predict", "given"),
    [
        ("policy", ("action",), ()),
        ("video", ("next_obs",), ()),
        ("forward", ("next_obs",), ("action",)),
        ("inverse", ("action",), ("next_obs",)),
        ("joint", ("action", "next_obs"), ()),
    ],
)
def test_every_question(model, golden, question, predict, given):
    answer = model.sample(
        golden["obs_feat"], predict=predict, steps=10, **{name: golden[f"given.{name}"] for name in given},
        action_noise=golden["init.action"], next_obs_noise=golden["init.next_obs"],
    )  # fmt: skip
    for name, value in zip(("action", "next_obs"), answer, strict=True):
        if name in predict:
            assert close(value, golden[f"{question}.{name}"], 1e-3)
