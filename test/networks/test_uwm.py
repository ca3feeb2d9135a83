"""The Unified World Model: gradients where they belong, questions answered in the shapes they promise."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from diffusers import DDIMScheduler

from vla_ros.networks.uwm import PRESETS, UnifiedWorldModel, UWMConfig

TINY = UWMConfig(
    dim=32, depth=2, heads=2, timestep_dim=16, encoder_widths=(8, 8, 8), encoder_features=16, obs_features=32,
    text_buckets=64, text_length=16, text_dim=8, latent_size=8,
)  # fmt: skip


def wake(model: UnifiedWorldModel) -> UnifiedWorldModel:
    """Zero-initialised modulation would make every answer the same; give it weights."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> UnifiedWorldModel:
    return wake(UnifiedWorldModel(TINY))


@pytest.fixture(scope="module")
def inputs() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "obs": torch.randn(3, 32), "action": torch.randn(3, 12, 7), "next_obs": torch.randn(3, 2, 4, 2, 8, 8),
        "current": torch.randn(3, 2, 4, 8, 8),
    }  # fmt: skip


def test_every_question_has_the_promised_shape(model, inputs):
    obs, current = inputs["obs"], inputs["current"]
    action, nothing = model.sample(obs, predict=("action",), steps=3)
    assert action.shape == (3, 12, 7) and nothing is None
    _, video = model.sample(obs, predict=("next_obs",), steps=3, current=current)
    assert video.shape == (3, 2, 4, 2, 8, 8)
    same, forward = model.sample(obs, predict=("next_obs",), steps=3, action=inputs["action"], current=current)
    assert torch.equal(same, inputs["action"]) and forward.shape == video.shape
    inverse, given = model.sample(obs, predict=("action",), steps=3, next_obs=inputs["next_obs"], current=current)
    assert inverse.shape == (3, 12, 7) and torch.equal(given, inputs["next_obs"])
    joint = model.sample(obs, predict=("action", "next_obs"), steps=3, current=current)
    assert joint[0].shape == action.shape and joint[1].shape == video.shape


def test_knowing_the_action_changes_the_imagined_future(model, inputs):
    noise = torch.randn(3, 2, 4, 2, 8, 8)
    ask = dict(predict=("next_obs",), steps=3, current=inputs["current"], next_obs_noise=noise)
    _, one = model.sample(inputs["obs"], action=inputs["action"], **ask)
    _, other = model.sample(inputs["obs"], action=-inputs["action"], **ask)
    assert not torch.allclose(one, other, atol=1e-4)


def test_the_same_noise_gives_the_same_chunk_and_another_observation_another_one(model, inputs):
    noise = torch.randn(3, 12, 7)
    first, _ = model.sample(inputs["obs"], predict=("action",), steps=4, action_noise=noise)
    again, _ = model.sample(inputs["obs"], predict=("action",), steps=4, action_noise=noise)
    other, _ = model.sample(inputs["obs"].flip(0), predict=("action",), steps=4, action_noise=noise)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-4)


def test_a_modality_cannot_be_given_and_predicted(model, inputs):
    with pytest.raises(ValueError, match="action is both given and to be predicted"):
        model.sample(inputs["obs"], predict=("action",), steps=2, action=inputs["action"])


def test_a_future_without_the_present_is_refused(model, inputs):
    with pytest.raises(ValueError, match="pass `current`"):
        model.sample(inputs["obs"], predict=("next_obs",), steps=2)


def test_rows_without_actions_do_not_teach_actions(model, inputs):
    """Action-free rows: whatever action stands in the row, the loss and its gradient stay the same."""
    known = torch.tensor([True, False, False])
    losses = []
    for stored in (inputs["action"], torch.cat([inputs["action"][:1], inputs["action"][1:] + 100])):
        torch.manual_seed(2)
        loss, _ = model.loss(inputs["obs"], stored, inputs["next_obs"], inputs["current"], action_known=known)
        losses.append(float(loss))
    assert losses[0] == pytest.approx(losses[1])


def test_the_future_tokens_of_an_ignored_future_are_the_config_s_choice(inputs):
    kept = wake(UnifiedWorldModel(dataclasses.replace(TINY, drop_ignored_future=False, condition_on_current=False)))
    _, future = kept.sample(inputs["obs"], predict=("action",), steps=2, next_obs_noise=inputs["next_obs"])
    assert torch.equal(future, inputs["next_obs"])  # held fixed, as published


def test_an_untrained_network_predicts_no_change():
    """adaLN-Zero with a residual future: before training, the imagined future is the present."""
    model = UnifiedWorldModel(TINY).eval()
    current = torch.randn(2, 2, 4, 8, 8)
    _, future = model.sample(torch.randn(2, 32), predict=("next_obs",), steps=2, current=current)
    assert torch.allclose(future, current[:, :, :, None].expand_as(future), atol=1e-5)


def test_patches_come_back_where_they_were():
    """Unpatchify inverts the patch order: token (v, t, h, w) fills its own corner."""
    patchifier = UnifiedWorldModel(TINY).noise_pred_net.obs_patchifier
    with torch.no_grad():
        patchifier.patch_decoder.weight.zero_()
        patchifier.patch_decoder.bias.zero_()
        patchifier.patch_decoder.weight[:, 0] = 1
    tokens = torch.zeros(1, TINY.future_tokens, TINY.dim)
    tokens[0, 5, 0] = 1  # view 1, time 0, row 0, column 1 of a 2 x 2 grid
    latents = patchifier.unpatchify(tokens)
    assert float(latents[0, 1, :, :, :4, 4:].min()) == 1.0
    assert float(latents.sum()) == 4 * 2 * 4 * 4


def test_the_schedule_is_the_published_one():
    scheduler = UnifiedWorldModel(TINY).scheduler
    assert isinstance(scheduler, DDIMScheduler)
    expected = {0: 0.999369, 50: 0.47826, 90: 0.0195444, 99: 2.4286e-7}
    for t, alpha in expected.items():
        assert float(scheduler.alphas_cumprod[t]) == pytest.approx(alpha, rel=2e-3)


def test_gradients_reach_every_weight():
    torch.manual_seed(0)
    model = wake(UnifiedWorldModel(TINY)).train()
    obs = model.encode(torch.rand(4, 2, 3, 32, 32), torch.randn(4, 7), torch.randint(1, 64, (4, 16)))
    action, future = model.loss(obs, torch.randn(4, 12, 7), torch.randn(4, 2, 4, 2, 8, 8), torch.randn(4, 2, 4, 8, 8))
    (action + future).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_presets_build():
    for config in PRESETS.values():
        assert sum(p.numel() for p in UnifiedWorldModel(config).parameters()) > 1e6
