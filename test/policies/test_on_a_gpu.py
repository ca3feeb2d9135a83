"""The embedded models on a GPU: what they answer on a CPU, up to its rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vla_ros.core.types import Observation
from vla_ros.policies.loading import load_model, load_policy

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
RADIANS = 1e-3


@pytest.fixture(autouse=True)
def all_digits(monkeypatch):
    """Convolutions on a GPU are of ten bits by default."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def observation(policy, future: int = 1) -> Observation:
    rng, contract = np.random.default_rng(0), policy.contract
    images = {
        camera.name: rng.integers(0, 255, (future, camera.height, camera.width, 3), dtype=np.uint8)
        for camera in contract.cameras
    }
    return Observation(10**9, images, np.full((future, len(contract.joints)), 0.3, np.float32), "lift the red block")


@pytest.fixture(params=["uwm_tabletop", "vla_tabletop"])
def both(request):
    return tuple(load_policy(request.param, threads=2, device=device) for device in ("cpu", "cuda"))


def test_they_plan_the_same(both):
    wanted, got = (policy.infer(observation(policy)).actions for policy in both)
    assert np.allclose(wanted[:, :-1], got[:, :-1], atol=RADIANS)  # the gripper is at one of its ends


def test_they_plan_the_same_again_and_after_a_plan():
    cpu, gpu = (load_policy("uwm_tabletop", threads=2, device=device) for device in ("cpu", "cuda"))
    plans = [policy.infer(observation(policy)) for policy in (cpu, gpu)]
    for policy, plan in zip((cpu, gpu), plans, strict=True):
        assert np.array_equal(policy.infer(observation(policy)).actions, plan.actions)
    after = [policy.continue_plan(observation(policy), plans[0], 3).actions for policy in (cpu, gpu)]
    assert np.allclose(*(actions[:, :-1] for actions in after), atol=RADIANS)


def test_the_world_model_imagines_and_explains_the_same():
    cpu, gpu = (load_policy("uwm_tabletop", threads=2, device=device) for device in ("cpu", "cuda"))
    chunk, frames = cpu.infer(observation(cpu)), observation(cpu, len(cpu.folder.future_steps))
    for answers in (
        [model.imagine(observation(model)) for model in (cpu, gpu)],
        [model.imagine(observation(model), chunk, samples=3) for model in (cpu, gpu)],
    ):
        shape = [answer.latents["front"].shape for answer in answers]
        assert shape[0] == shape[1] and answers[0].images["front"].shape == answers[1].images["front"].shape
    wanted, got = (model.explain(observation(model), frames).actions for model in (cpu, gpu))
    assert np.allclose(wanted[:, :-1], got[:, :-1], atol=RADIANS)


def test_a_speaking_model_says_the_same():
    said = [
        model.answer(observation(model), "which block is closest to the gripper")
        for model in (load_model("vla_tabletop", threads=2, device=device) for device in ("cpu", "cuda"))
    ]
    assert said[0] and said[0] == said[1]
