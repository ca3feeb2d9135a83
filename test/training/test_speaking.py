"""Teaching to speak: what is asked of two moments, LLaVA's stages one after the other, and who may be asked what."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from vla_ros.core.config import to_plain
from vla_ros.core.errors import ConfigError
from vla_ros.datasets.changes import about_changes, check_of
from vla_ros.datasets.conversations import Conversations, ask, ask_of_caption
from vla_ros.datasets.demonstrations import load_demonstrations
from vla_ros.datasets.questions import Scene
from vla_ros.datasets.vocabulary import tabletop_words
from vla_ros.policies.backbones.tiny import KeypointTowerConfig, TinyBackbone
from vla_ros.policies.backbones.words import PADDING
from vla_ros.policies.loading import load_model, load_policy
from vla_ros.sim.tabletop.tasks import TASKS
from vla_ros.training.config import LoopConfig
from vla_ros.training.run import train
from vla_ros.training.vlm.config import VLMTraining

SMALL = TinyBackbone(dim=32, depth=1, heads=2, keypoints=KeypointTowerConfig(widths=(8, 8, 8), features=16))


def scene(red: tuple[float, float, float], drawer: float = 0.0, tip=(0.5, 0.0, 0.3)) -> Scene:
    blocks = {"red": np.array(red), "green": np.array((0.45, 0.0, 0.02)), "blue": np.array((0.5, -0.2, 0.02))}
    return Scene(blocks, np.array(tip), drawer)


def changes(then: Scene, now: Scene) -> dict[str, str]:
    return {question.text: question.answer for question in about_changes(then, now)}


def test_a_push_is_judged_as_the_task_is():
    task = TASKS["push_left_red"]
    start = scene((0.4, 0.1, 0.02))
    assert changes(start, scene((0.4, 0.19, 0.02)))[check_of(task)] == "yes"
    assert changes(start, scene((0.4, 0.12, 0.02)))[check_of(task)] == "no"
    assert check_of(task) not in changes(start, scene((0.4, 0.175, 0.02)))  # nearly there: training does not ask
    assert changes(start, scene((0.4, 0.12, 0.02)))[check_of(TASKS["push_right_red"])] == "no"


def test_what_moved_is_told_from_where_it_was():
    then, now = scene((0.4, 0.1, 0.02)), scene((0.4, 0.05, 0.09), drawer=0.09, tip=(0.4, 0.05, 0.15))
    said = changes(then, now)
    assert said["is the red block right of where it was"] == "yes"
    assert said["is the red block left of where it was"] == "no"
    assert said["is the green block left of where it was"] == "no"
    assert said[check_of(TASKS["lift_red"])] == "yes" and said[check_of(TASKS["open_drawer"])] == "yes"
    assert said[check_of(TASKS["reach_red"])] == "yes" and said[check_of(TASKS["reach_blue"])] == "no"


def test_the_moment_before_is_of_the_same_episode():
    episode = np.repeat([7, 9, 9, 12], 5)
    talk = Conversations(np.zeros((20, 15), np.float32), episode, tabletop_words(), 1, 0.0)
    index, rng = np.arange(20), np.random.default_rng(0)
    firsts = np.flatnonzero(np.diff(episode, prepend=0))
    for _ in range(50):
        then = talk.before(index, rng)
        assert (episode[then] == episode[index]).all() and (then <= index).all()
    assert {int(frame) for frame in then} & set(firsts.tolist())


def test_the_end_of_an_episode_is_asked_whether_its_task_is_done():
    """A push in 40 frames, the last 8 of them done."""
    still = np.array([0.4, 0, 0.02, 0.45, 0, 0.02, 0.5, -0.2, 0.02, 0.62, 0, 0.1, 0.4, 0.1, 0.1], np.float32)
    aux = np.tile(still, (80, 1))
    aux[:, 1] = np.tile(np.clip(np.arange(40) - 29, 0, 3) * 0.03, 2)
    words, rng = tabletop_words(), np.random.default_rng(0)
    talk = Conversations(aux, np.repeat([3, 5], 40), words, 2, 0.0)
    index = talk.endings(np.repeat([1, 70], 200), rng)
    assert set(index[:200].tolist()) == set(range(24, 40)) and set(index[200:].tolist()) == set(range(64, 80))
    drawn = talk.draw(index, rng, np.repeat([0, 40], 200), ["push_left_red"] * 400)
    check = words.encode(check_of(TASKS["push_left_red"]).split())
    own = (drawn["questions"][:, 0, -len(check) :] == torch.tensor(check)).all(dim=-1).numpy()
    yes = drawn["answers"][:, 0, 0].numpy() == words.encode(["yes"])[0]
    moved = aux[index, 1]
    assert own[(moved >= 0.08) | (moved <= 0.065)].all()
    assert (yes == (moved >= 0.08))[own].all() and 0.3 < yes[own].mean() < 0.7


def test_rare_answers_are_asked_as_often_as_common_ones():
    """In most frames nothing is in the air, and most blocks have not been pushed."""
    red = (0.4, 0.1, 0.1)
    aux = np.array([*red, 0.45, 0, 0.02, 0.5, -0.2, 0.02, 0.62, 0, 0.1, 0.4, 0.1, 0.1], np.float32)
    then = aux.copy()
    then[2] = 0.02
    rng = np.random.default_rng(0)
    said = [q.answer for q in (ask(aux, rng, then) for _ in range(400)) if q.about == "lifted"]
    assert 0.3 < said.count("yes") / len(said) < 0.7


def test_what_is_asked_of_a_caption_stands_in_it():
    aux = np.array([0.4, 0.1, 0.02, 0.45, 0, 0.02, 0.5, -0.2, 0.02, 0.62, 0, 0.1, 0.4, 0.1, 0.3], np.float32)
    rng = np.random.default_rng(0)
    said = {q.text: q.answer for q in (ask_of_caption(aux, rng) for _ in range(60))}
    assert said["describe the scene"] == "from left to right red green blue and the drawer is closed"
    assert said["which block is leftmost"] == "red" and "which block is closest to the gripper" not in said


def test_a_scene_where_all_is_too_close_to_call_is_described():
    """Blocks in a heap, a drawer neither open nor closed: no question has a clear answer, and none is waited for."""
    heap = [0.45, 0.0, 0.04] * 3
    aux = np.array([*heap, 0.58, 0.0, 0.1, 0.45, 0.0, 0.1], np.float32)
    assert ask_of_caption(aux, np.random.default_rng(0)).about == "caption"


def stage(data: Path, folder: Path, name: str, tower: Path, initial: Path | None) -> VLMTraining:
    loop = LoopConfig(folder / name, steps=3, batch=6, learning_rate=1e-3, warmup=1, threads=1, validate_every=3)
    return VLMTraining("vlm", name, data, folder / name / "model", loop, tower, SMALL, initial, validation_share=0.3)


def run(config: VLMTraining) -> dict[str, float]:
    config.loop.run.mkdir(parents=True)
    path = config.loop.run / "config.yaml"
    path.write_text(yaml.safe_dump(to_plain(config)))
    return train(path, resume=False)


def test_each_stage_teaches_its_part_and_no_other(short_demonstrations, tmp_path, tiny_model):
    initial, weights = None, {}
    for name in ("words", "align", "instruct"):
        config = stage(short_demonstrations, tmp_path, name, tiny_model, initial)
        assert np.isfinite(run(config)["words_wrong"])
        weights[name] = load_model(config.out).model.state_dict()
        initial = config.out

    def changed(name: str, before: str) -> set[str]:
        parts = {"multi_modal_projector", "language_model", "vision_tower"}
        moved = [key for key, value in weights[name].items() if not torch.equal(value, weights[before][key])]
        return {part for part in parts if any(part in key for key in moved)}

    assert changed("align", "words") == {"multi_modal_projector"}
    assert changed("instruct", "align") == {"multi_modal_projector", "language_model"}


def test_it_speaks_of_two_moments_and_no_policy_node_takes_it(short_demonstrations, tmp_path, tiny_model, observation):
    config = stage(short_demonstrations, tmp_path, "words", tiny_model, None)
    run(config)
    model = load_model(config.out)
    assert isinstance(model.answer(observation, "is the drawer open"), str)
    assert isinstance(model.answer(observation, "was the drawer opened", observation), str)
    assert model.read("was the drawer opened", observation, observation).vision["pixel_values"].shape[0] == 4
    with pytest.raises(ConfigError, match="speaks but does not act"):
        load_policy(config.out)


def test_a_stage_without_the_one_before_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="initial must be the folder of stage 'words'"):
        stage(tmp_path, tmp_path, "align", tmp_path, None)
    with pytest.raises(ConfigError, match="none, it begins with it"):
        stage(tmp_path, tmp_path, "words", tmp_path, tmp_path)
    fine = stage(tmp_path, tmp_path, "words", tmp_path, None)
    with pytest.raises(ConfigError, match="captions must be from 0 to 1"):
        replace(fine, captions=2.0)


def test_a_folder_of_other_words_is_no_beginning(short_demonstrations, tmp_path, tiny_model):
    config = stage(short_demonstrations, tmp_path, "words", tiny_model, None)
    run(config)
    words = json.loads((config.out / "words.json").read_text())
    (config.out / "manifest.json").unlink()  # it would refuse other words by itself
    (config.out / "words.json").write_text(json.dumps([*words[:3], words[4], words[3], *words[5:]]))
    with pytest.raises(ConfigError, match=f"its word 3 is '{words[4]}', that of this training '{words[3]}'"):
        run(stage(short_demonstrations, tmp_path, "align", tiny_model, config.out))


def test_a_batch_of_talk_is_words(short_demonstrations):
    data, words = load_demonstrations(short_demonstrations), tabletop_words()
    talk = Conversations(data.aux, data.episode, words, 2, 0.5)
    index = np.arange(4)
    batch = talk.draw(index, np.random.default_rng(0), index)
    assert batch["questions"].shape[:2] == (4, 2) and batch["answers"].shape[:2] == (4, 2)
    assert (batch["questions"][..., -1] != PADDING).all()  # padded on the left
    assert (batch["answers"][..., 0] != PADDING).all()
