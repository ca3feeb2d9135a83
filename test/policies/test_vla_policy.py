"""The vision-language policy: chunks in all four formulations, a history that is kept, every wrong folder refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vla_ros.bench.random_vla import write_random_vla
from vla_ros.core.abilities import Continues, Policy
from vla_ros.core.errors import ConfigError, ContractError, MessageError, ModelError
from vla_ros.core.robot import load_robot
from vla_ros.core.types import Observation
from vla_ros.networks.vla.backbone import Prompt
from vla_ros.policies.backbones.tiny import TinyBackbone
from vla_ros.policies.loading import check_contract, load_policy
from vla_ros.policies.vla import HeadSizes

UNTIED = shutil.ignore_patterns("manifest.json")  # a folder to damage: the manifest would name the change first

STEP_NS = 200_000_000
HEADS = {"one_step": "fc", "discrete": "fc", "interleaved": "fc", "policy_head": "lstm"}


def write(folder: Path, formulation: str, kind: str | None = None) -> Path:
    head = HeadSizes(kind or HEADS[formulation], hidden_size=32, heads=2)
    backbone = TinyBackbone(dim=32, depth=1, heads=2)
    horizon = 2 if formulation == "discrete" else 12
    write_random_vla(
        load_robot("ur5e_tabletop"), folder, formulation, window=3, horizon=horizon, head=head, backbone=backbone
    )
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vla")
    return {name: write(root / name, name) for name in HEADS}


@pytest.fixture(scope="module")
def policy(models):
    return load_policy(models["policy_head"], threads=1)


@pytest.fixture
def folder(models, tmp_path) -> Path:
    """A copy of the model folder to damage."""
    return Path(shutil.copytree(models["policy_head"], tmp_path / "model", ignore=UNTIED))


def observation(now: int = 0, instruction: str = "push the red block left", size: int = 64) -> Observation:
    rng = np.random.default_rng(now)
    images = {name: rng.integers(0, 255, (1, size, size, 3), dtype=np.uint8) for name in ("front", "wrist")}
    return Observation(5_000_000_000 + now * STEP_NS, images, np.full((1, 7), 0.3, dtype=np.float32), instruction)


@pytest.mark.parametrize("formulation", HEADS)
def test_a_chunk_of_every_formulation(models, formulation):
    policy = load_policy(models[formulation], threads=1)
    assert isinstance(policy, Policy) and not isinstance(policy, Continues)
    check_contract(policy.contract, load_robot("ur5e_tabletop"))
    chunk = policy.infer(observation())
    assert (chunk.stamp_ns, chunk.start_ns, chunk.step_ns) == (5_000_000_000, 5_100_000_000, 100_000_000)
    assert chunk.actions.shape == (policy.contract.horizon, 7) and chunk.actions.dtype == np.float32
    assert np.abs(chunk.actions[:, :6] - 0.3).max() < 0.003  # differences around the measured position
    assert ((chunk.actions[:, 6] >= 0) & (chunk.actions[:, 6] <= 1)).all()
    policy.reset()
    assert np.array_equal(chunk.actions, policy.infer(observation()).actions)


@pytest.mark.parametrize(
    ("formulation", "kind"),
    [
        ("policy_head", "lstm"),
        ("policy_head", "gpt2"),
        ("interleaved", "fc"),
    ],
)
def test_the_answer_rests_on_the_window_and_on_nothing_before_it(tmp_path, formulation, kind):
    policy = load_policy(write(tmp_path / "model", formulation, kind), threads=1)

    def last_of(moments: list[int]):
        policy.reset()
        return [policy.infer(observation(now)).actions for now in moments][-1]

    whole, window, alone = last_of([0, 1, 2, 3, 4]), last_of([2, 3, 4]), last_of([4])
    assert np.allclose(whole, window, atol=1e-6)
    assert np.abs(window - alone).max() > 1e-6


def test_another_instruction_or_a_gap_begins_a_new_history(policy):
    policy.reset()
    alone = policy.infer(observation(9)).actions
    for before in (observation(8, "lift the blue block"), observation(1), observation(12)):
        policy.reset()
        policy.infer(before)
        assert np.array_equal(policy.infer(observation(9)).actions, alone)
    policy.reset()
    policy.infer(observation(8))
    assert not np.array_equal(policy.infer(observation(9)).actions, alone)


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("", "instruction is empty"),
        ("?!", "instruction is empty"),
        ("x" * 10_000, "10000 characters, must be"),
        ("juggle seven oranges", "not understood: the model never saw juggle, seven, oranges"),
    ],
)
def test_an_instruction_that_cannot_be_obeyed(policy, sentence, message):
    with pytest.raises(MessageError, match=message):
        policy.infer(observation(instruction=sentence))


def test_a_strange_word_among_known_ones_is_no_obstacle(policy):
    assert np.isfinite(policy.infer(observation(instruction="kindly lift the red block")).actions).all()


def test_it_answers_in_words_it_knows(policy):
    said = policy.answer(observation(), "lift the red block")
    assert set(said.split()) <= set(policy.speaker.reader.words.known)


def test_frames_of_another_size(policy):
    with pytest.raises(ContractError, match=r"camera 'front': frames must have shape .*, got \(1, 32, 32, 3\)"):
        policy.infer(observation(size=32))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("formulation: policy_head", "formulation: policy_hed", r"formulation"),
        ("window: 3", "windw: 3", r"unknown key 'windw'; did you mean 'window'\?"),
        ("formulation: policy_head", "formulation: one_step", "window must be 1 for 'one_step', got 3"),
        ("image_size: 64", "image_size: 32", "is 64x64; backbone.image_size says 32x32"),
        ("formulation: policy_head", "formulation: interleaved", "kind must be 'fc' .* for interleaved, got"),
        ("gripper: gripper_joint", "gripper: griper_joint", r"gripper 'griper_joint'; did you mean 'gripper_joint'\?"),
        ("vocabulary: 640", "vocabulary: 200", "backbone.vocabulary must be > 267, got 200"),
    ],
)
def test_a_config_that_contradicts_itself(folder, old, new, message):
    edit(folder / "config.yaml", old, new)
    with pytest.raises(ConfigError, match=message):
        load_policy(folder)


def test_a_backbone_of_another_size(folder):
    edit(folder / "config.yaml", "dim: 32", "dim: 64")
    with pytest.raises(ModelError, match=r"has shape \(128, 32\); the config asks for \(128, 64\)"):
        load_policy(folder)


@pytest.mark.parametrize("name", ["backbone.action_token", "backbone.model.model.language_model.norm.weight"])
def test_an_incomplete_backbone(folder, name):
    weights = load_file(folder / "model.safetensors")
    del weights[name]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match=f"lacks 1 of .*{name}"):
        load_policy(folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (None, "words.json: no such file"),
        ("{", "damaged"),
        ('["Lift", "it"]', "list of lower-case words"),
        ('["lift", "lift"]', "holds a word twice"),
        (json.dumps([f"w{i}" for i in range(400)]), "room for 373 of words"),
    ],
)
def test_words_that_are_not_the_models(folder, words, message):
    (folder / "words.json").unlink() if words is None else (folder / "words.json").write_text(words)
    with pytest.raises(ModelError, match=message):
        load_policy(folder)


def test_missing_statistics(folder):
    (folder / "statistics.json").unlink()
    with pytest.raises(ModelError, match="normalisation statistics"):
        load_policy(folder)


def test_branches_behind_the_same_images_are_as_if_each_were_alone(policy):
    """What training computes at once is what the policy computes for one sentence."""
    backbone = policy.model.backbone
    views = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    sentences = [policy.speaker.reader.words.obey(sentence) for sentence in ("lift the red block", "open the drawer")]
    with torch.no_grad():
        rows = torch.tensor([[*ids, *[0] * (4 - len(ids))] for ids in sentences])[None]
        token = backbone.action_token.expand(1, 2, 1, -1)
        mask = torch.cat([rows != 0, torch.ones(1, 2, 1, dtype=torch.bool)], dim=-1)
        images = backbone.see(views).flatten(0, 1)[None]
        got = backbone.decode_apart(images, torch.cat([backbone.embed(rows), token], dim=2), mask)[0, :, -1]
        for branch, ids in enumerate(sentences):
            place = [policy.folder.backbone.vocabulary - 1] * 32
            row = torch.tensor([place + ids])
            prompt = Prompt(row, torch.ones_like(row), {"pixel_values": views})
            torch.testing.assert_close(got[branch], backbone.features(prompt)[0], rtol=1e-4, atol=1e-5)
