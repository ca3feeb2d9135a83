"""The four formulations: layouts, action tokens, windows, and a stream that equals the recomputed window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.networks.vla.action_loss import action_loss
from vla_ros.networks.vla.action_tokens import ActionTokens, normalise, restore, window_at
from vla_ros.networks.vla.backbone import Backbone, Prompt, tiny_config
from vla_ros.networks.vla.formulations import ContinuousVLA, DiscreteVLA, VLAStream
from vla_ros.networks.vla.policy_head import HeadConfig

VOCABULARY = 320


def backbone() -> Backbone:
    torch.manual_seed(0)
    config = tiny_config(VOCABULARY, image_size=16, patch=8, dim=16, depth=2, heads=2)
    made = Backbone("tiny", hf.LlavaForConditionalGeneration(config)).eval()
    torch.nn.init.normal_(made.action_token)
    return made


def prompt_of(rows: int) -> Prompt:
    """A word, the four places of an image, two words."""
    ids = torch.randint(3, 40, (rows, 7))
    ids[:, 1:5] = VOCABULARY - 1
    return Prompt(ids, torch.ones_like(ids), {"pixel_values": torch.randn(rows, 3, 16, 16)})


def rows_of(prompt: Prompt, rows: list[int]) -> Prompt:
    return Prompt(prompt.ids[rows], prompt.mask[rows], {name: value[rows] for name, value in prompt.vision.items()})


def model_of(formulation: str, kind: str = "fc", window: int = 3) -> ContinuousVLA:
    head = HeadConfig(16, 7, 4, window, kind, hidden_size=16, num_layers=2, heads=2)
    return ContinuousVLA(backbone(), head, formulation).eval()


@pytest.mark.parametrize("kind", ("lstm", "gpt2", "fc"))
def test_a_stream_equals_the_recomputed_window(kind):
    model = model_of("policy_head", kind)
    prompt = prompt_of(2 * 7)  # two histories of seven steps, step by step within each
    stream = VLAStream(model)
    for now in range(1, 8):
        got = stream.push(rows_of(prompt, [now - 1, 7 + now - 1]))
        seen = range(max(0, now - 3), now)
        with torch.no_grad():
            whole = model(rows_of(prompt, [*seen, *(7 + t for t in seen)]), len(seen)).newest()
        torch.testing.assert_close(got.pose, whole.pose, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(got.gripper_logit, whole.gripper_logit, rtol=1e-4, atol=1e-5)


def test_interleaved_steps_see_the_past_and_not_the_future():
    model, prompt = model_of("interleaved"), prompt_of(2 * 3)
    pixels = prompt.vision["pixel_values"].clone()
    pixels[1] += 1  # the second step of the first history
    with torch.no_grad():
        before = model.features(prompt, 3)
        after = model.features(Prompt(prompt.ids, prompt.mask, {"pixel_values": pixels}), 3)
        alone = model.backbone.window_features(rows_of(prompt, [0, 3]), 1)
    assert before.shape == (2, 3, 1, 16)
    torch.testing.assert_close(before[:, :1], alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(before[0, 0], after[0, 0]) and torch.equal(before[1], after[1])
    assert not torch.allclose(before[0, 1], after[0, 1]) and not torch.allclose(before[0, 2], after[0, 2])


@pytest.mark.parametrize(
    ("formulation", "kind", "window"),
    [
        ("one_step", "fc", 1),
        ("interleaved", "fc", 3),
        ("policy_head", "lstm", 3),
        ("policy_head", "gpt2", 3),
    ],
)
def test_training_reaches_every_part(formulation, kind, window):
    model, prompt = model_of(formulation, kind, window), prompt_of(2 * window)
    actions = model(prompt, window)
    assert actions.pose.shape == (2, window, 4, 6) and actions.gripper_logit.shape == (2, window, 4, 1)
    mask = torch.ones(2, window, 4, dtype=torch.bool)
    action_loss(actions, torch.randn(2, window, 4, 6), torch.ones(2, window, 4), mask).total.backward()
    # The ViT's own last norm and pooler are not on the way of a hidden state.
    idle = {name for name, w in model.named_parameters() if w.grad is None or not w.grad.any()}
    assert not [name for name in idle if "vision_tower" not in name]
    assert model.backbone.model.model.vision_tower.embeddings.patch_embeddings.projection.weight.grad.any()


def test_the_discrete_model_learns_to_write_an_action():
    torch.manual_seed(0)
    model, prompt = DiscreteVLA(backbone(), ActionTokens(VOCABULARY, special=1), 7), prompt_of(2)
    actions = torch.rand(2, 7) * 2 - 1
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimiser.zero_grad()
        loss = model.loss(prompt, actions)
        loss.backward()
        optimiser.step()
    assert loss < 0.1
    torch.testing.assert_close(model.act(prompt), actions, atol=1 / 255 + 1e-6, rtol=0)


@given(st.lists(st.floats(-1.5, 1.5), min_size=1, max_size=8))
def test_action_tokens_as_published(values):
    tokens, actions = ActionTokens(1000, special=3), torch.tensor(values, dtype=torch.float64)
    edges = np.linspace(-1, 1, 256)
    expected = (1000 - 3 - 10) - np.digitize(np.clip(values, -1, 1), edges)
    assert tokens.encode(actions).tolist() == expected.tolist()
    error = (tokens.decode(tokens.encode(actions)) - actions.clamp(-1, 1)).abs()
    assert error.max() <= 1 / 255 + 1e-6


def test_words_that_are_no_action_are_the_nearest_one():
    tokens = ActionTokens(1000)
    ends = tokens.decode(torch.tensor([0, 999]))
    assert ends.tolist() == pytest.approx([1 - 1 / 255, -1 + 1 / 255])
    with pytest.raises(ValueError, match="no room for 256"):
        ActionTokens(200)


def test_quantiles_clip_and_come_back():
    low, high = torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 1.0])
    assert normalise(torch.tensor([[1.0, 0.5], [9.0, -3.0]]), low, high).tolist() == [[0.5, 0.0], [1.0, -1.0]]
    assert restore(torch.tensor([0.5, 0.0]), low, high).tolist() == [1.0, 0.5]


@settings(max_examples=40)
@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 6), st.data())
def test_windows_repeat_the_first_frame_and_mask_what_is_not_real(length, window, chunk, data):
    moment = data.draw(st.integers(0, length - 1))
    got = window_at(moment, length, window, chunk)
    for row in range(window):
        frame = moment - window + 1 + row
        assert got.frames[row] == max(0, frame)
        for step in range(chunk):
            real = frame >= 0 and frame + step < length
            assert bool(got.mask[row, step]) == real
            assert not real or got.actions[row, step] == frame + step
    assert got.actions.min() >= 0 and got.actions.max() < length


@pytest.mark.parametrize(
    ("formulation", "kind", "window", "named"),
    [
        ("one_step", "fc", 2, "window must be 1 for one_step, got 2"),
        ("interleaved", "lstm", 2, "kind must be 'fc' .*, got 'lstm'"),
    ],
)
def test_heads_that_do_not_fit_are_refused(formulation, kind, window, named):
    with pytest.raises(ValueError, match=named):
        model_of(formulation, kind, window)
