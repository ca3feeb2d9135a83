"""The UWM policy: chunks with the right time base, and every wrong input refused by name."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vla_ros.core.abilities import Continues, Policy, is_world_model
from vla_ros.core.errors import ConfigError, ContractError, MessageError, ModelError
from vla_ros.core.robot import load_robot
from vla_ros.core.types import Observation
from vla_ros.policies.loading import check_contract, load_policy

UNTIED = shutil.ignore_patterns("manifest.json")  # a folder to damage: the manifest would name the change first


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the model folder to damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model", ignore=UNTIED))


@pytest.fixture(scope="module")
def policy(tiny_model):
    return load_policy(tiny_model, threads=1)


def observation(instruction: str = "push the red block left", size: int = 64, frames: int = 1) -> Observation:
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 255, (frames, size, size, 3), dtype=np.uint8) for name in ("front", "wrist")}
    return Observation(5_000_000_000, images, np.full((frames, 7), 0.3, dtype=np.float32), instruction)


def test_it_is_a_policy_and_a_world_model(policy):
    assert isinstance(policy, Policy) and isinstance(policy, Continues) and is_world_model(policy)


def test_a_chunk_starts_one_step_after_its_observation(policy):
    chunk = policy.infer(observation())
    assert (chunk.stamp_ns, chunk.start_ns, chunk.step_ns) == (5_000_000_000, 5_100_000_000, 100_000_000)
    assert chunk.actions.shape == (12, 7) and chunk.actions.dtype == np.float32
    assert np.isfinite(chunk.actions).all()
    assert np.abs(chunk.actions[:, :6] - 0.3).max() < 0.5  # differences around the measured position


def test_the_same_observation_gives_the_same_chunk_in_every_episode(policy):
    first = policy.infer(observation()).actions
    policy.reset()
    assert np.array_equal(first, policy.infer(observation()).actions)


def test_half_precision_plans_nearly_the_same(policy, folder):
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("precision: float32", "precision: bfloat16"))
    wanted, got = (p.infer(observation()).actions for p in (policy, load_policy(folder, threads=1)))
    assert not np.array_equal(wanted, got) and np.allclose(wanted[:, :6], got[:, :6], atol=0.02)


def test_imagine_and_explain(policy):
    prediction = policy.imagine(observation(), policy.infer(observation()))
    assert prediction.due_ns.tolist() == [5_600_000_000, 6_200_000_000]
    assert {name: frames.shape for name, frames in prediction.images.items()} == {
        "front": (2, 64, 64, 3),
        "wrist": (2, 64, 64, 3),
    }
    assert policy.explain(observation(), observation(frames=2)).actions.shape == (12, 7)


def test_a_chunk_of_another_time_base_is_not_imagined(policy):
    """Its frames would be due at other moments than they are labelled with."""
    chunk = policy.infer(observation())
    with pytest.raises(ContractError, match="step must be 100000000 ns, the model's own, got 50000000"):
        policy.foresee(observation(), dataclasses.replace(chunk, step_ns=50_000_000))
    for starts_ns in (0, 200_000_000):
        late = dataclasses.replace(chunk, start_ns=5_000_000_000 + starts_ns)
        with pytest.raises(ContractError, match=f"must start one step, 100000000 ns, after .*got {starts_ns} ns"):
            policy.foresee(observation(), late)
    policy.foresee(observation(), dataclasses.replace(chunk, step_ns=99_999_999))  # rounded on its way
    policy.foresee(dataclasses.replace(observation(), stamp_ns=5_050_000_000), chunk)  # the nearest that was kept


def test_it_breathes_and_answers_the_same(tiny_model):
    """Bit for bit, whatever is asked; `breathe` anew takes the place of what was called before."""
    policy, old, calls = load_policy(tiny_model, threads=1), [], []
    chunk, later = policy.infer(observation()), observation(frames=2)

    def answers() -> list[np.ndarray]:
        torch.manual_seed(0)
        found = policy.imagine(observation(), chunk, samples=3)
        explained = policy.explain(observation(), later).actions
        return [*found.latents.values(), *found.images.values(), explained, policy.latents(later.images["front"])]

    before = answers()
    policy.breathe(lambda: old.append(1))
    policy.breathe(lambda: calls.append(1))
    assert all(np.array_equal(a, b) for a, b in zip(before, answers(), strict=True))
    assert len(calls) > 50 and not old


@pytest.mark.parametrize(
    ("sentence", "message"),
    [("", "instruction is empty"), ("?!", "instruction is empty"), ("x" * 10_000, "10000 characters, must be")],
)
def test_an_instruction_that_cannot_be_obeyed(policy, sentence, message):
    with pytest.raises(MessageError, match=message):
        policy.infer(observation(sentence))


def test_frames_of_another_size(policy):
    with pytest.raises(ContractError, match=r"camera 'front': frames must have shape .*, got \(1, 32, 32, 3\)"):
        policy.infer(observation(size=32))


def test_a_given_plan_is_continued(policy):
    """Real-time chunking: frozen actions are the plan's at their due times, though the plan is older and shifted."""
    old = policy.infer(observation())
    plan = dataclasses.replace(old, actions=old.actions + 0.05)
    later = dataclasses.replace(observation(), stamp_ns=5_000_000_000 + 2 * plan.step_ns)
    free, chunk = policy.infer(later), policy.continue_plan(later, plan, 3)
    assert np.allclose(chunk.actions[:3], plan.actions[2:5], atol=1e-4)
    assert np.abs(free.actions[:3] - plan.actions[2:5]).max() > 1e-3
    assert np.allclose(chunk.actions[-2:], free.actions[-2:], atol=0.05)  # beyond the plan it is free


def test_a_plan_that_cannot_be_continued(policy):
    plan = policy.infer(observation())
    with pytest.raises(ContractError, match="frozen_steps is 13; the plan covers 12 steps"):
        policy.continue_plan(observation(), plan, 13)
    other = dataclasses.replace(plan, names=tuple(f"joint_{i}" for i in range(7)))
    with pytest.raises(ContractError, match=r"the plan must move .*, got joint_0"):
        policy.continue_plan(observation(), other, 1)


def test_the_robot_must_offer_what_the_model_knows(policy):
    check_contract(policy.contract, load_robot("ur5e_tabletop"))
    with pytest.raises(ContractError, match=r"camera|joints"):
        check_contract(policy.contract, load_robot("ur5e"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_missing_folder(tmp_path):
    with pytest.raises(ModelError, match="no model folder"):
        load_policy(tmp_path / "nowhere")


def test_an_unknown_key_in_the_config(folder):
    edit(folder / "config.yaml", "sampling_steps:", "samplin_steps:")
    with pytest.raises(ConfigError, match=r"unknown key 'samplin_steps'; did you mean 'sampling_steps'\?"):
        load_policy(folder)


def test_an_unknown_kind(folder):
    edit(folder / "config.yaml", "kind: uwm", "kind: uwn")
    with pytest.raises(ConfigError, match=r"kind 'uwn' is not known; did you mean 'uwm'\?"):
        load_policy(folder)


def test_sizes_that_contradict_each_other(folder):
    edit(folder / "config.yaml", "action_len: 12", "action_len: 16")
    with pytest.raises(ConfigError, match=r"network\.action_len is 16, but contract\.horizon says 12"):
        load_policy(folder)


def test_truncated_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="truncated or not a safetensors file"):
        load_policy(folder)


@pytest.mark.parametrize("fault", ["missing", "extra", "shape", "nan"])
def test_weights_that_do_not_fit(folder, fault):
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = "noise_pred_net.registers"
    if fault == "missing":
        del weights[name]
    elif fault == "extra":
        weights["surprise"] = torch.zeros(1)
    elif fault == "shape":
        weights[name] = weights[name][:, :1].clone()
    else:
        weights[name] = weights[name] * float("nan")
    save_file(weights, path)
    expected = {
        "missing": f"lacks 1 of .*{name}",
        "extra": "does not have: surprise",
        "shape": f"{name} has shape",
        "nan": f"{name} holds values that are not finite",
    }
    with pytest.raises(ModelError, match=expected[fault]):
        load_policy(folder)


def test_a_pickle_instead_of_weights_is_not_opened(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "trace",))

    torch.save({"model": Trap()}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_policy(folder)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["joints"].__setitem__(0, "base_joint"), "statistics are for the joints base_joint"),
        (lambda s: s.pop("state"), "damaged or incomplete"),
        (lambda s: s["state"]["std"].__setitem__(2, 0.0), "not finite, or a deviation that is not positive"),
        (lambda s: s["action"]["mean"].pop(), r"action mean must have shape .*got \(11, 7\)"),
    ],
)
def test_wrong_statistics(folder, change, message):
    path = folder / "statistics.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=message):
        load_policy(folder)


def test_missing_statistics(folder):
    (folder / "statistics.json").unlink()
    with pytest.raises(ModelError, match="normalisation statistics"):
        load_policy(folder)


def test_a_device_that_is_not_there(tiny_model):
    if torch.cuda.is_available():
        load_policy(tiny_model, device="cuda")
        return
    with pytest.raises(ConfigError, match="torch sees no CUDA device"):
        load_policy(tiny_model, device="cuda")
