"""Candidates: the best is taken, a bad one vetoed, and scorers are found by name."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vla_ros.core.errors import ConfigError
from vla_ros.core.planning.choosing import Candidate, Chooser, Vetoed, limits, scorer_of, spread
from vla_ros.core.robot import load_robot
from vla_ros.core.types import ActionChunk, Observation, Prediction

ROBOT = load_robot("ur5e_tabletop")
SEEN = Observation(0, {}, np.zeros((1, 7), np.float32), "push")


def chunk(pan: float) -> ActionChunk:
    actions = np.zeros((3, 7), np.float32)
    actions[:, 0] = pan
    return ActionChunk(0, 1, 1, actions, ROBOT.joint_names)


class Answers:
    """Proposes pans of 2 and 1; the futures of the last disagree most."""

    def propose(self, observation, count, plan=None, frozen_steps=0):
        return [chunk(2.0), chunk(1.0)][:count]

    def foresee(self, observation, chunk=None, samples=1):
        latents = np.zeros((samples, 2, 4, 4, 4), np.float32)
        latents[0] = 4 - chunk.actions[0, 0]
        return Prediction(0, np.array([1, 2]), {}, {"front": latents})


def chooser(scorer, candidates: int = 3, veto_above: float = math.inf) -> Chooser:
    return Chooser(Answers(), ROBOT, scorer, candidates, 2, veto_above)


def test_the_best_candidate_by_each_scorer():
    first = chunk(3.0)
    assert chooser(limits).choose(SEEN, first).actions[0, 0] == 1.0
    assert chooser(spread).choose(SEEN, first).actions[0, 0] == 3.0
    assert chooser(limits, candidates=1).choose(SEEN, first) is first


def test_limits_are_shares_of_the_range():
    joint, prediction = ROBOT.joints[0], Prediction(0, np.array([1]), {})
    middle, half = (joint.lower + joint.upper) / 2, (joint.upper - joint.lower) / 2
    values = [limits(Candidate(ROBOT, SEEN, chunk(middle + share * half), prediction)) for share in (0.5, 1.0)]
    assert values == pytest.approx([max(0.5, limits(Candidate(ROBOT, SEEN, chunk(middle), prediction))), 1.0])


def test_nothing_is_sent_where_even_the_best_is_too_bad_or_no_number():
    with pytest.raises(Vetoed, match="the best of 3 chunks scores"):
        chooser(limits, veto_above=0.01).choose(SEEN, chunk(3.0))
    with pytest.raises(Vetoed):
        chooser(lambda candidate: math.nan).choose(SEEN, chunk(3.0))
    scores = iter([math.nan, 5.0, 4.0])
    assert chooser(lambda candidate: next(scores)).choose(SEEN, chunk(3.0)).actions[0, 0] == 1.0


def test_scorers_by_name():
    assert scorer_of("spread") is spread and scorer_of("limits") is limits
    with pytest.raises(ConfigError, match="scorer 'spred' is not installed; installed: limits, spread"):
        scorer_of("spred")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that offers scorers, and a module that it does not offer."""
    (tmp_path / "theirs.py").write_text("def best(candidate): return -1.0\nnumber = 3\n")
    (tmp_path / "broken.py").write_text("raise RuntimeError('no licence')\n")
    (tmp_path / "loose.py").write_text("import pathlib; pathlib.Path(__file__).with_name('ran').touch()\nscore = len\n")
    folder = tmp_path / "theirs-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    lines = (
        "best = theirs:best",
        "number = theirs:number",
        "broken = broken:x",
        "gone = theirs:gone",
        "limits = loose:score",
    )
    (folder / "entry_points.txt").write_text("\n".join(["[vla_ros.scorers]", *lines]))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_scorer_of_an_installed_package_is_found_by_its_name(package):
    assert scorer_of("best")(Candidate(ROBOT, SEEN, chunk(0.0), Prediction(0, np.array([1]), {}))) == -1.0
    assert scorer_of("limits") is limits  # nobody's name hides one of ours
    for name, why in (("number", "is no function"), ("broken", "no licence"), ("gone", "cannot be loaded")):
        with pytest.raises(ConfigError, match=why):
            scorer_of(name)


@pytest.mark.parametrize("name", ["loose:score", "loose", "theirs:best", "os:system", "../loose:score"])
def test_a_parameter_does_not_choose_what_code_runs(package, name):
    with pytest.raises(ConfigError, match="is not installed; installed: best, broken, gone, limits, number, spread"):
        scorer_of(name)
    assert not (package / "ran").exists()


def test_the_embedded_model_proposes_chunks_of_its_own_and_imagines_each(tiny_model):
    from vla_ros.policies.loading import load_policy

    policy = load_policy(tiny_model, threads=1)
    images = {name: np.zeros((1, 64, 64, 3), np.uint8) for name in ("front", "wrist")}
    seen = Observation(0, images, np.zeros((1, 7), np.float32), "push the red block left")
    first = policy.infer(seen)
    others = policy.propose(seen, 2)
    assert len(others) == 2 and not np.array_equal(others[0].actions, others[1].actions)
    assert np.array_equal(others[0].actions, policy.propose(seen, 1)[0].actions), "the same in every chunk"
    found = Chooser(policy, ROBOT, spread, 3, 2, math.inf).choose(seen, first)
    assert any(found is item or np.array_equal(found.actions, item.actions) for item in (first, *others))
