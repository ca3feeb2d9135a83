"""Policy heads: the LSTM against tensors of the official code, and every kind streamed against whole windows."""

from __future__ import annotations

import json

import pytest
import torch
from golden import close, golden_folder, ruled_weight
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from vla_ros.networks.vla.action_loss import GRIPPER_WEIGHT, action_loss
from vla_ros.networks.vla.policy_head import Actions, HeadConfig, HeadStream, PolicyHead

GOLDEN = golden_folder("ROBOVLMS_GOLDEN", "robovlms_lstm_tiny")
KINDS = ("lstm", "gpt2", "fc")
official = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden tensors at {GOLDEN} (set ROBOVLMS_GOLDEN)")


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "tensors.safetensors")


@pytest.fixture(scope="module")
def head() -> PolicyHead:
    """Strict in both directions: every official name and shape, and no other."""
    model = PolicyHead(HeadConfig(**json.loads((GOLDEN / "config.json").read_text()))).eval()
    shapes = json.loads((GOLDEN / "state_dict_shapes.json").read_text())
    assert {name: list(value.shape) for name, value in model.state_dict().items()} == shapes
    model.load_state_dict({name: ruled_weight(name, shape) for name, shape in shapes.items()})
    return model


@official
def test_a_whole_window_as_the_official_head(head, golden):
    with torch.no_grad():
        actions = head(golden["features"])
    assert close(actions.pose, golden["window.pose"], 1e-4)
    assert close(actions.gripper_logit, golden["window.gripper_logit"], 1e-4)


@official
def test_a_stream_longer_than_the_window_as_the_official_head(head, golden):
    stream = HeadStream(head)
    with torch.no_grad():
        steps = [stream.push(feature) for feature in golden["stream.features"].unbind(1)]
    assert close(torch.stack([step.pose for step in steps], 1), golden["stream.pose"], 1e-4)
    assert close(torch.stack([step.gripper_logit for step in steps], 1), golden["stream.gripper_logit"], 1e-4)


@official
def test_the_losses_as_the_official_ones(golden):
    predicted = Actions(golden["window.pose"], golden["window.gripper_logit"])
    loss = action_loss(predicted, *(golden[f"label.{name}"] for name in ("pose", "gripper", "mask")))
    assert close(loss.pose[None], golden["loss.pose"], 1e-5)
    assert close(loss.gripper[None], golden["loss.gripper"], 1e-5)
    assert float(loss.total) == pytest.approx(float(loss.pose) + GRIPPER_WEIGHT * float(loss.gripper))


def small_head(kind: str, window: int, seed: int = 0) -> PolicyHead:
    torch.manual_seed(seed)
    return PolicyHead(HeadConfig(12, 7, 3, window, kind, hidden_size=16, num_layers=2, heads=2)).eval()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12)
@given(window=st.integers(1, 6), steps=st.integers(1, 12), batch=st.integers(1, 3), seed=st.integers(0, 99))
def test_streaming_equals_recomputing_the_last_window(kind, window, steps, batch, seed):
    head = small_head(kind, window, seed)
    features = torch.randn(batch, steps, 2, 6)
    stream = HeadStream(head)
    with torch.no_grad():
        for now in range(1, steps + 1):
            got = stream.push(features[:, now - 1])
            whole = head(features[:, max(0, now - window) : now]).newest()
            torch.testing.assert_close(got.pose, whole.pose, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(got.gripper_logit, whole.gripper_logit, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ("lstm", "gpt2"))
def test_a_head_with_memory_sees_the_past_and_never_the_future(kind):
    head = small_head(kind, 4)
    features = torch.randn(1, 4, 1, 12)
    changed = features.clone()
    changed[:, 2] += 1
    with torch.no_grad():
        before, after = head(features).pose, head(changed).pose
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 3], after[:, 3], atol=1e-6)


def test_a_stream_forgets_at_a_reset():
    head = small_head("lstm", 4)
    stream, feature = HeadStream(head), torch.randn(1, 1, 12)
    with torch.no_grad():
        first = stream.push(feature)
        stream.push(torch.randn(1, 1, 12))
        stream.reset()
        again = stream.push(feature)
    assert torch.equal(first.pose, again.pose)


def test_steps_beyond_the_demonstration_teach_nothing():
    torch.manual_seed(0)
    pose, gripper = torch.randn(2, 3, 4, 6), torch.ones(2, 3, 4)
    mask = torch.rand(2, 3, 4) < 0.5
    predicted = Actions(torch.zeros(2, 3, 4, 6, requires_grad=True), torch.zeros(2, 3, 4, 1, requires_grad=True))
    action_loss(predicted, pose, gripper, mask).total.backward()
    assert (predicted.pose.grad[~mask] == 0).all()
    assert (predicted.pose.grad[mask] != 0).all()
    nothing = action_loss(predicted, pose, gripper, torch.zeros_like(mask))
    assert nothing.total == 0


@pytest.mark.parametrize(
    ("wrong", "named"), [({"window": 0}, r"head\.window must be 1 to 4096, got 0"), ({"kind": "gpt2"}, "3 heads")]
)
def test_sizes_that_cannot_be_are_refused(wrong, named):
    with pytest.raises(ValueError, match=named):
        HeadConfig(
            **{"in_features": 8, "action_dim": 7, "chunk": 2, "window": 4, "hidden_size": 16, "heads": 3, **wrong}
        )
