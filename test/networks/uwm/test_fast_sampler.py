"""The fast sampler answers as the plain one does: every question, every preset's choices."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from uwm_questions import sample

from vla_ros.networks.uwm.autoencoder import AutoencoderConfig
from vla_ros.networks.uwm.config import UWMConfig, published
from vla_ros.networks.uwm.encoders import KeypointEncoderConfig, ResNetEncoderConfig
from vla_ros.networks.uwm.fast_sampler import FastSampler
from vla_ros.networks.uwm.guidance import Prefix, soft_mask
from vla_ros.networks.uwm.model import UnifiedWorldModel

SMALL = dict(autoencoder=AutoencoderConfig((8, 8, 8)), dim=32, depth=2, heads=2, timestep_dim=16, latent_size=8)
TABLETOP = UWMConfig(KeypointEncoderConfig(obs_features=48, text_dim=8), **SMALL)
CONFIGS = {
    "tabletop": TABLETOP,
    "frame reader": dataclasses.replace(TABLETOP, reader_width=8),
    "published": published(encoder=ResNetEncoderConfig(8), **SMALL),
    "leading sample": dataclasses.replace(TABLETOP, spacing="leading", clip_sample=True, drop_ignored_future=False),
}
QUESTIONS = {
    "policy": (("action",), ()),
    "video": (("next_obs",), ()),
    "forward": (("next_obs",), ("action",)),
    "inverse": (("action",), ("next_obs",)),
    "joint": (("action", "next_obs"), ()),
}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU"))]


@pytest.fixture(scope="module", params=DEVICES)
def device(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=CONFIGS)
def model(request, device) -> UnifiedWorldModel:
    torch.manual_seed(0)
    model = UnifiedWorldModel(CONFIGS[request.param]).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.to(device)


def inputs(model: UnifiedWorldModel, batch: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    config = model.config
    current = torch.randn(batch, config.views, 4, 8, 8) if config.condition_on_current else None
    found = {
        "obs": torch.randn(batch, config.obs_features),
        "action": torch.randn(batch, config.action_len, 7),
        "next_obs": torch.randn(batch, *config.latent_shape),
        "current": current,
    }
    return {name: None if x is None else x.to(model.noise_pred_net.pos_embed.device) for name, x in found.items()}


def answers(model, question, batch, steps, **options):
    """The plain answer and the fast one, from the same noise."""
    predict, given = QUESTIONS[question]
    x = inputs(model, batch)
    names = ("action", "next_obs")
    plain = sample(
        model,
        x["obs"],
        predict=predict,
        steps=steps,
        current=x["current"],
        **options,
        **{name if name in given else f"{name}_noise": x[name] for name in names},
    )
    fast = FastSampler(model, predict=predict, given=given, steps=steps, batch=batch)
    found = fast(x["obs"], action=x["action"], next_obs=x["next_obs"], current=x["current"], **options)
    return [(p, f) for name, p, f in zip(names, plain, found, strict=True) if name in predict]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("batch", [1, 3])
def test_it_equals_the_plain_sampler(model, question, batch):
    for plain, fast in answers(model, question, batch, steps=10):
        atol = 1e-5 if plain.device.type == "cpu" else 2e-4  # a GPU sums in another order each time
        assert torch.allclose(plain, fast, rtol=1e-4, atol=atol), float((plain - fast).abs().max())


def test_with_a_prefix_too(model):
    horizon = model.config.action_len
    device = model.noise_pred_net.pos_embed.device
    prefix = Prefix(torch.full((1, horizon, 7), 0.2, device=device), soft_mask(horizon, 3, 8).to(device))
    ((plain, fast),) = answers(model, "policy", 1, steps=5, prefix=prefix)
    assert torch.allclose(plain, fast, rtol=1e-4, atol=1e-4)
    assert torch.allclose(fast[:, :3], prefix.actions[:, :3], atol=1e-4)


@pytest.mark.parametrize("question", QUESTIONS)
def test_it_lets_others_go_first_between_its_blocks_and_answers_the_same(model, question):
    predict, given = QUESTIONS[question]
    calls: list[int] = []
    x = inputs(model, 2)
    answers = [
        FastSampler(model, predict=predict, given=given, steps=5, batch=2, graph=False, **options)(**x)
        for options in ({}, {"between": lambda: calls.append(1)})
    ]
    assert all(torch.equal(a, b) for a, b in zip(*answers, strict=True) if a is not None)
    assert len(calls) == 5 * model.config.depth


def test_the_test_can_fail(model):
    """Another observation is another answer, by far more than the tolerance."""
    predict, _ = QUESTIONS["policy"]
    x = inputs(model, 1)
    fast = FastSampler(model, predict=predict, steps=10)
    noise = {name: x[name] for name in ("action", "next_obs", "current")}
    assert not torch.allclose(fast(x["obs"], **noise)[0], fast(-x["obs"], **noise)[0], rtol=1e-2, atol=1e-2)


def test_half_precision_points_the_same_way(model):
    x = inputs(model, 1)
    predict, _ = QUESTIONS["policy"]
    noise = {name: x[name] for name in ("action", "next_obs", "current")}
    full, half = (
        FastSampler(model, predict=predict, steps=10, dtype=dtype)(x["obs"], **noise)[0].flatten()
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert float(torch.cosine_similarity(full, half, dim=0)) > 0.999
    assert not torch.equal(full, half)


def test_a_second_observation_is_answered_for_itself(model):
    """On a GPU the first call is captured, the others replay it on what they are given."""
    predict, given = QUESTIONS["joint"]
    fast = FastSampler(model, predict=predict, given=given, steps=5, batch=1)
    first = inputs(model, 1)
    second = {name: None if x is None else x.roll(1, dims=-1) for name, x in first.items()}
    answers = [fast(**x)[0] for x in (first, second, first)]
    assert torch.equal(answers[0], answers[2]) and not torch.allclose(answers[0], answers[1], atol=1e-2)
