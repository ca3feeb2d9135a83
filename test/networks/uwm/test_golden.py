"""The whole model against tensors of the official code; weights by the rule of golden/README.md."""

from __future__ import annotations

import json

import pytest
import torch
from golden import close, golden_folder, ruled_weight
from safetensors.torch import load_file
from uwm_questions import sample

from vla_ros.networks.uwm.autoencoder import AutoencoderConfig
from vla_ros.networks.uwm.config import PRESETS, UWMConfig, published
from vla_ros.networks.uwm.encoders import ResNetEncoderConfig
from vla_ros.networks.uwm.model import UnifiedWorldModel

AUTOENCODER = "obs_encoder.vae.vae."  # the official files name a small one there
GOLDEN = golden_folder("UWM_GOLDEN", "uwm_tiny")
LIBERO = GOLDEN.parent / "uwm_libero_state_dict_shapes.json"

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden tensors at {GOLDEN} (set UWM_GOLDEN)")


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "tensors.safetensors")


def golden_config(size: dict) -> UWMConfig:
    """What a golden folder's config.json describes; the autoencoder takes no part and stays small."""
    encoder = ResNetEncoderConfig(size["embed_dim"], 2, tuple(size["resize"]), tuple(size["crop"]))
    return published(
        encoder=encoder,
        autoencoder=AutoencoderConfig((8, 8, 8, 8)),
        views=size["views"],
        action_dim=size["action_dim"],
        action_len=size["action_len"],
        dim=size["embed_dim"],
        depth=size["depth"],
        heads=size["heads"],
        timestep_dim=size["temb"],
        registers=size["registers"],
        latent_size=size["crop"][0] // 8,
        patch=tuple(size["patch"]),
    )


def fill_by_rule(model: UnifiedWorldModel, shapes: dict[str, list[int]]) -> None:
    """Strict in both directions: every official name and shape, and no other, but for the autoencoder's inner ones."""
    official = {name: shape for name, shape in shapes.items() if not name.startswith(AUTOENCODER)}
    ours = {name: list(value.shape) for name, value in model.state_dict().items() if not name.startswith(AUTOENCODER)}
    assert ours == official
    model.load_state_dict({name: ruled_weight(name, shape) for name, shape in official.items()}, strict=False)


@pytest.fixture(scope="module")
def model() -> UnifiedWorldModel:
    model = UnifiedWorldModel(golden_config(json.loads((GOLDEN / "config.json").read_text()))).eval()
    fill_by_rule(model, json.loads((GOLDEN / "state_dict_shapes.json").read_text()))
    return model


def test_the_observation_encoder(model, golden):
    frames = torch.stack([golden[name] for name in sorted(golden) if name.startswith("obs.")], dim=1)
    with torch.no_grad():
        features = model.encode(frames.permute(0, 1, 2, 5, 3, 4).float() / 255)  # (B, V, T, 3, H, W)
    assert close(features, golden["obs_feat"], 1e-4)


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
    noise = {"action_noise": golden["init.action"], "next_obs_noise": golden["init.next_obs"]}
    known = {name: golden[f"given.{name}"] for name in given}
    answer = sample(model, golden["obs_feat"], predict=predict, steps=10, **known, **noise)
    for name, value in zip(("action", "next_obs"), answer, strict=True):
        if name in predict:
            assert close(value, golden[f"{question}.{name}"], 1e-3)


@pytest.mark.skipif(not LIBERO.is_file(), reason=f"no list of the official names at {LIBERO}")
def test_the_libero_preset_has_the_official_names_and_shapes():
    shapes = json.loads(LIBERO.read_text())
    with torch.device("meta"):
        model = UnifiedWorldModel(PRESETS["libero"])
    ours = {name: list(value.shape) for name, value in model.state_dict().items() if not name.startswith(AUTOENCODER)}
    assert ours == {name: shape for name, shape in shapes.items() if not name.startswith(AUTOENCODER)}
