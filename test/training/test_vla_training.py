"""Training of vision-language-action models on real demonstrations: every formulation, words, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from vla_ros.core.config import to_plain
from vla_ros.core.errors import ConfigError
from vla_ros.datasets.changes import every_change
from vla_ros.datasets.demonstrations import load_demonstrations
from vla_ros.datasets.questions import KINDS, Scene, caption, every_sentence
from vla_ros.datasets.vocabulary import tabletop_words
from vla_ros.policies.backbones.tiny import KeypointTowerConfig, TinyBackbone
from vla_ros.policies.backbones.words import UNKNOWN
from vla_ros.policies.loading import load_policy
from vla_ros.policies.vla import HeadSizes
from vla_ros.sim.tabletop.tasks import TASKS, wordings
from vla_ros.training.config import LoopConfig
from vla_ros.training.run import train
from vla_ros.training.vla.config import VLATraining
from vla_ros.training.vla.train import VLABatches, quantile_statistics

SMALL = TinyBackbone(dim=32, depth=1, heads=2)
FORMULATIONS = {
    "one_step": {"answers": 0.5, "questions": 2, "judged": 0.5},
    "discrete": {"horizon": 2, "auxiliary": 0.0},
    "interleaved": {"window": 3},
    "policy_head": {"window": 3},
}


@pytest.fixture
def data(short_demonstrations) -> Path:
    return short_demonstrations


def training(data: Path, folder: Path, formulation: str, **choices: Any) -> VLATraining:
    loop = LoopConfig(folder / "run", steps=3, batch=12, learning_rate=1e-3, warmup=1, threads=1, validate_every=3)
    head = HeadSizes("lstm" if formulation == "policy_head" else "fc", hidden_size=32)
    return VLATraining(
        "vla",
        data,
        folder / "model",
        loop,
        **{"backbone": SMALL, "head": head, "formulation": formulation, "validation_share": 0.3, **choices},
    )


def run(config: VLATraining, resume: bool = False) -> dict[str, float]:
    """As `vla-ros train`."""
    config.loop.run.mkdir(parents=True, exist_ok=True)
    path = config.loop.run / "config.yaml"
    path.write_text(yaml.safe_dump(to_plain(config)))
    return train(path, resume)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_every_formulation_becomes_a_policy(data, tmp_path, formulation, observation):
    figures = run(training(data, tmp_path, formulation, **FORMULATIONS[formulation]))
    assert figures["steps"] == 3 and all(np.isfinite(value) for value in figures.values())
    policy = load_policy(tmp_path / "model", threads=1)
    chunk = policy.infer(observation)
    assert np.abs(chunk.actions[:, :6] - observation.state[0, :6]).max() < 1.0
    assert policy.folder.window == FORMULATIONS[formulation].get("window", 1)


def test_a_run_goes_on_where_it_ended(data, tmp_path):
    config = training(data, tmp_path, "one_step")
    run(config)
    longer = replace(config, loop=replace(config.loop, steps=5))
    assert run(longer, resume=True)["steps"] == 5


def test_a_head_learns_over_a_backbone_that_stays_as_it_is(data, tmp_path):
    first = training(data, tmp_path / "one", "one_step")
    run(first)
    second = training(
        data, tmp_path / "two", "policy_head", window=3, initial=first.out, freeze_backbone=True, auxiliary=0.0
    )
    run(second)
    before, after = (load_policy(config.out).model.state_dict() for config in (first, second))
    kept = [name for name in before if name.startswith("backbone.")]
    assert kept and all(torch.equal(before[name], after[name]) for name in kept)


def test_the_tower_is_the_trained_one_and_stays_so(data, tmp_path, tiny_model, observation):
    keypoints = KeypointTowerConfig(widths=(8, 8, 8), features=16)
    backbone = replace(SMALL, keypoints=keypoints)
    run(training(data, tmp_path, "one_step", tower=tiny_model, backbone=backbone, auxiliary=0.0))
    policy, trained = load_policy(tmp_path / "model"), load_policy(tiny_model)
    views = [torch.from_numpy(observation.images[name]).permute(0, 3, 1, 2).float() for name in ("front", "wrist")]
    stacked = torch.stack(views, dim=1)[:, :, None] / 255  # (1, V, 1, 3, H, W)
    with torch.no_grad():
        wanted = trained.model.obs_encoder.see(stacked)
        got = policy.model.backbone.look(stacked[0, :, 0] * 2 - 1)
    torch.testing.assert_close(got.flatten()[None], wanted, rtol=1e-4, atol=1e-5)
    assert np.isfinite(policy.infer(observation).actions).all()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"window": 2}, "window must be 1 for 'one_step', got 2"),
        ({"freeze_backbone": True}, "freeze_backbone needs 'initial'"),
        ({"tower": Path("models/uwm_tabletop")}, "tower needs backbone.keypoints"),
        ({"word_dropout": 1.0}, "word_dropout must be from 0 to below 1, got 1.0"),
        ({"judged": 0.5}, "judged needs answers"),
    ],
)
def test_trainings_that_cannot_be_are_refused(data, tmp_path, choices, message):
    with pytest.raises(ConfigError, match=message):
        training(data, tmp_path, "one_step", **choices)


def test_windows_begin_anywhere_and_end_with_their_episode(data, tmp_path):
    config = training(data, tmp_path, "policy_head", window=4)
    demos = load_demonstrations(data)
    statistics = quantile_statistics(demos)
    batches = VLABatches(config, demos, statistics, tabletop_words())
    batch = batches.draw(np.random.default_rng(0))
    assert batch["state"].shape == (3, 4, 7) and batch["actions"].shape == (3, 4, 12, 7)
    assert batch["known"][:, 0].all() and batch["actions"].abs().max() <= 1
    known = batch["known"]
    assert (known[:, :-1] | ~known[:, 1:]).all()  # what is not known comes last
    grippers = batch["actions"][..., 6]
    assert ((grippers >= -1) & (grippers <= 1)).all()


def test_every_word_of_the_tabletop_is_known_and_held_out_ones_are_not():
    words = tabletop_words()
    told = [sentence for task in TASKS.values() for sentence in wordings(task)]
    said = [*told, *every_sentence(), *every_change()]
    assert not any(UNKNOWN in words.encode(sentence.split()) for sentence in said)
    assert words.encode(["please"]) == [UNKNOWN]
    held_out = [sentence for task in TASKS.values() for sentence in wordings(task, held_out=True)]
    assert all(words.obey(sentence) for sentence in held_out)  # strange words, but never most of them
    assert words.decode(words.encode(["the", "red", "block"])) == "the red block"


def test_questions_are_answered_by_the_positions():
    blocks = {"red": (0.4, 0.1, 0.02), "green": (0.45, 0.0, 0.02), "blue": (0.5, -0.1, 0.12)}
    closed, tip = (0.62, 0.0, 0.1), (0.5, -0.1, 0.13)
    aux = np.array([*blocks.values(), closed, tip], dtype=np.float32).reshape(-1)
    asked = {q.text: q.answer for kind in KINDS.values() for q in kind(Scene.of(aux))}
    assert asked["which block is closest to the gripper"] == "blue" and asked["which block is leftmost"] == "red"
    assert asked["which block is farthest from the robot"] == "blue"
    assert asked["is the red block left of the blue block"] == "yes"
    assert asked["is the blue block left of the green block"] == "no"
    assert asked["where is the green block"] == "middle" and asked["where is the blue block"] == "right"
    assert asked["is the blue block in the air"] == "yes" and asked["is the red block in the air"] == "no"
    assert asked["is the drawer open"] == "no"
    assert caption(Scene.of(aux)).answer == "from left to right red green blue and the drawer is closed"
    aux[9] -= 0.1
    assert {q.answer for q in KINDS["drawer"](Scene.of(aux))} == {"yes"}
    aux[9] += 0.06  # neither open nor closed
    assert not list(KINDS["drawer"](Scene.of(aux)))
