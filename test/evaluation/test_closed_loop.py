"""The closed-loop evaluation: an oracle succeeds in it, a policy that stands still does not, and the sums are right."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from vla_ros.core.contract import CameraContract
from vla_ros.core.types import ActionChunk, Observation
from vla_ros.evaluation.closed_loop import EpisodeResult, run_episode, summarise, wilson
from vla_ros.evaluation.questions import measure_questions
from vla_ros.sim.environment import Trial, Variant
from vla_ros.sim.tabletop.environment import TabletopEnvironment, choose
from vla_ros.sim.tabletop.expert import plan
from vla_ros.sim.tabletop.tasks import TASKS, instruction_to_task, wordings
from vla_ros.sim.tabletop.world import JOINTS, Tabletop

STEP_NS = 100_000_000


class Oracle:
    """The scripted expert behind the policy's interface: it looks at the true state instead of the images."""

    contract = SimpleNamespace(cameras=(CameraContract("front", 64, 64),), step_ns=STEP_NS, execute_steps=2)

    def __init__(self, tabletop: Tabletop, still: bool = False) -> None:
        self.tabletop, self.still = tabletop, still

    def reset(self) -> None:
        """Nothing to forget."""

    def infer(self, observation: Observation) -> ActionChunk:
        """A plan from the true state."""
        here = observation.state[-1:].repeat(12, axis=0)
        actions = here if self.still else plan(self.tabletop.state(), self.tabletop.task)
        stamp = observation.stamp_ns
        return ActionChunk(stamp, stamp + STEP_NS, STEP_NS, actions, JOINTS)


@pytest.fixture(scope="module")
def environment():
    table = TabletopEnvironment()
    yield table
    table.close()


@pytest.mark.parametrize("task", ["reach_red", "push_left_green", "push_right_blue", "lift_red", "open_drawer"])
def test_the_oracle_succeeds(environment, task):
    trial = Trial(10_000, task, TASKS[task].family, "-")
    result = run_episode(environment, Oracle(environment.tabletop), trial, limit_s=8.0, execute_steps=2)
    assert result.success and result.seconds < 5.0
    assert result.family == TASKS[task].family


def test_standing_still_achieves_nothing(environment):
    oracle, trial = Oracle(environment.tabletop, still=True), Trial(10_000, "lift_red", "lift", "-")
    result = run_episode(environment, oracle, trial, limit_s=1.0, execute_steps=2)
    assert not result.success and result.seconds == pytest.approx(1.0)
    assert len(result.chunk_ms) == 5


@pytest.mark.parametrize("held_out", [False, True])
def test_a_wrong_colour_is_the_only_thing_that_is_wrong(held_out):
    seen = set()
    for seed in range(60):
        name, sentence = choose(seed, Variant(held_out=held_out, wrong_colour=True))
        task, told = TASKS[name], instruction_to_task(sentence)
        assert told is not None and (told.family, told.verb) == (task.family, task.verb)
        assert told.colour != task.colour, "the sentence speaks of the very block"
        seen.add(name)
    assert seen == set(TASKS) - {"open_drawer"}, "a drawer has no colour"


def test_held_out_episodes_use_held_out_wordings():
    for seed in range(40):
        task, sentence = choose(seed, Variant(held_out=True))
        assert sentence in wordings(TASKS[task], held_out=True) and sentence not in wordings(TASKS[task])


def test_the_summary_counts_and_names_failures():
    results = [EpisodeResult(i, "lift_red", "lift", "lift it", i != 3, 2.0, (10.0, 20.0)) for i in range(4)]
    summary = summarise(results)
    assert summary["success_rate"] == 0.75 and summary["episodes"] == 4
    assert summary["by_task"] == {"lift_red": {"success_rate": 0.75, "episodes": 4}}
    assert summary["failed"] == [[3, "lift_red", "lift it"]]
    assert summary["chunk_ms_p50"] == 15.0


@pytest.mark.parametrize(("successes", "low", "high"), [(95, 0.888, 0.978), (0, 0.0, 0.037), (100, 0.963, 1.0)])
def test_wilson_interval(successes, low, high):
    """Against the values of Wilson's formula for n = 100, computed independently."""
    assert wilson(successes, 100) == pytest.approx((low, high), abs=1e-3)


def test_labels_are_clean_and_executed_targets_are_disturbed(tmp_path):
    from vla_ros.datasets.expert import collect_shard

    counts = collect_shard(tmp_path, [9990, 9991])
    assert sum(attempts for _, attempts in counts.values()) == 2
    columns = {path.stem: np.load(path) for path in tmp_path.glob("*.npy")}
    frames = len(columns["task"])
    assert columns["front"].shape == (frames, 64, 64, 3) and columns["plans"].shape == (frames, 4, 12, 7)
    assert (columns["plan_task"][:, 0] == columns["task"]).all()
    apart = np.abs(columns["executed"] - columns["plans"][:, 0, 0]).max(axis=1)
    assert (apart[columns["displaced"]] > 0.005).all()
    assert apart[~columns["displaced"]].max() < 0.03


@pytest.mark.parametrize("word", ["yes", "no"])
def test_a_judge_that_always_says_the_same_is_right_before_or_after_the_task_is_done(word):
    class Stubborn:
        contract = Oracle.contract

        def answer(self, observation, question, before=None):
            return word

    found = measure_questions(Stubborn(), episodes=2, seed=0)
    shares = {name: row["share"] for name, row in found["checker_by_moment"].items() if name != "all"}
    assert set(shares) >= {"start", "done", "settled"}
    assert all(share == (word == "yes") for name, share in shares.items() if name in ("done", "settled"))
    assert all(share == (word == "no") for name, share in shares.items() if name in ("start", "middle"))
    assert found["questions"]["drawer"]["share"] == (word == "no")  # nobody opens it in these two
    assert {row[3] for row in found["misjudged"]} == {word}
