"""Frozen prefix and soft mask: the weights of arXiv 2506.07339, and what they do to a sampled chunk."""

from __future__ import annotations

import math

import pytest
import torch
from uwm_questions import sample

from vla_ros.networks.uwm.autoencoder import AutoencoderConfig
from vla_ros.networks.uwm.config import UWMConfig
from vla_ros.networks.uwm.encoders import KeypointEncoderConfig
from vla_ros.networks.uwm.guidance import Prefix, soft_mask
from vla_ros.networks.uwm.model import UnifiedWorldModel


def test_the_weights_are_the_paper_s():
    """Equation 5, H = 12, d = 3, H - s = 9: 1 while frozen, c (e^c - 1) / (e - 1) between, 0 beyond the old plan."""
    weights = soft_mask(12, 3, 9).tolist()
    assert weights[:3] == [1.0] * 3 and weights[9:] == [0.0] * 3
    for i in range(3, 9):
        c = (9 - i) / (9 - 3 + 1)
        assert weights[i] == pytest.approx(c * (math.exp(c) - 1) / (math.e - 1), rel=1e-5)
    assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize(("frozen", "overlap"), [(-1, 4), (5, 4), (3, 13)])
def test_impossible_masks_are_refused(frozen, overlap):
    with pytest.raises(ValueError, match="must be 0 <= frozen <= overlap <= 12"):
        soft_mask(12, frozen, overlap)


@pytest.mark.parametrize("prediction", ["sample", "epsilon"])
@pytest.mark.parametrize("solver", ["ddim", "dpmsolver++"])
def test_frozen_actions_are_held_and_the_rest_is_drawn_near(prediction, solver):
    config = UWMConfig(
        KeypointEncoderConfig(obs_features=32, text_dim=8),
        AutoencoderConfig((8, 8, 8)),
        dim=32,
        depth=2,
        heads=2,
        timestep_dim=16,
        latent_size=8,
        prediction=prediction,
        spacing="leading",
    )
    torch.manual_seed(0)
    model = UnifiedWorldModel(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    plan = torch.randn(1, 12, 7).clamp(-1, 1)
    ask = dict(predict=("action",), steps=5, action_noise=torch.randn(1, 12, 7), solver=solver)
    free, _ = sample(model, torch.randn(1, 32), **ask)
    held, _ = sample(model, torch.randn(1, 32), prefix=Prefix(plan, soft_mask(12, 3, 9)), **ask)
    assert torch.allclose(held[:, :3], plan[:, :3], atol=1e-4)
    assert not torch.allclose(free[:, :3], plan[:, :3], atol=1e-2)
    distance = [(chunk - plan)[:, 3:9].abs().mean() for chunk in (held, free)]
    assert distance[0] < distance[1]
