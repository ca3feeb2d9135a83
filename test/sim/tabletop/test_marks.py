"""The mark of the task that needs a memory: seen for a moment, over the right block, touched by nothing."""

from __future__ import annotations

import numpy as np
import pytest

from vla_ros.core.contract import CameraContract, PolicyContract
from vla_ros.core.types import ActionChunk, Observation
from vla_ros.datasets.marked import SHOWN_STEPS, Recorder, record_marked
from vla_ros.evaluation.closed_loop import evaluate, run_episode
from vla_ros.sim.environment import Trial, Variant
from vla_ros.sim.tabletop.environment import TabletopEnvironment, choose
from vla_ros.sim.tabletop.marks import MARKED, SENTENCE, SHOWN_S, hide_mark, show_mark
from vla_ros.sim.tabletop.world import JOINTS, Tabletop


def magenta(image: np.ndarray) -> np.ndarray:
    """(..., H, W, 3) -> (...): how many pixels look like the mark."""
    red, green, blue = (image[..., channel].astype(int) for channel in range(3))
    return ((red > 90) & (blue > 90) & (green < 60)).sum(axis=(-2, -1))


@pytest.fixture
def tabletop():
    table = Tabletop()
    yield table
    table.close()


def test_it_shows_and_hides_and_moves_nothing(tabletop):
    for task in MARKED:
        tabletop.reset(3, task)
        before, state = tabletop.render("front", 64, 64), tabletop.state()
        show_mark(tabletop)
        tabletop.advance(0.1)
        assert magenta(tabletop.render("front", 64, 64)) >= 6
        hide_mark(tabletop)
        assert np.abs(tabletop.render("front", 64, 64).astype(int) - before).max() < 30
        now = tabletop.state()
        assert all(np.abs(now.blocks[c] - state.blocks[c]).max() < 1e-3 for c in state.blocks)


def test_a_demonstration_waits_while_it_is_shown_and_then_reaches(tabletop):
    recorder = Recorder()
    assert record_marked(tabletop, recorder, 4)
    seen = magenta(np.stack(recorder.columns["front"]))
    assert (seen[:SHOWN_STEPS] > 0).all() and not seen[SHOWN_STEPS:].any()
    plans = np.stack(recorder.columns["plans"])[:, 0]  # (N, H, 7)
    assert np.ptp(plans[:SHOWN_STEPS], axis=(0, 1)).max() < 1e-6  # waits where it is
    assert np.abs(plans[SHOWN_STEPS, -1] - plans[0, 0]).max() > 0.1  # then goes


class Watcher:
    """A policy that stays where it is and keeps what it sees."""

    contract = PolicyContract((CameraContract("front", 64, 64), CameraContract("wrist", 64, 64)), JOINTS, 0.1, 12, 2)

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def reset(self) -> None:
        self.seen.clear()

    def infer(self, observation: Observation) -> ActionChunk:
        self.seen.append(observation)
        stay = np.repeat(observation.state[-1:], 12, axis=0)
        step_ns = self.contract.step_ns
        return ActionChunk(observation.stamp_ns, observation.stamp_ns + step_ns, step_ns, stay, JOINTS)


def test_an_evaluation_shows_it_first_and_only_first():
    policy = Watcher()
    environment = TabletopEnvironment()
    (result,) = evaluate(policy, environment, episodes=1, seed=20001, variant=Variant(marked=True), limit_s=1.6)
    environment.close()
    assert result.instruction == SENTENCE and not result.success
    shown = {o.stamp_ns / 1e9: int(magenta(o.images["front"][0])) for o in policy.seen}
    assert all((count > 0) == (at_s < SHOWN_S) for at_s, count in shown.items()), shown


def test_no_mark_is_left_for_the_next_episode_and_no_other_ball_goes():
    policy = Watcher()
    environment = TabletopEnvironment()
    try:
        evaluate(policy, environment, episodes=2, seed=20001, variant=Variant(marked=True), limit_s=0.4)
        assert len({int(magenta(o.images["front"][0]) > 0) for o in policy.seen}) == 1
        environment.tabletop.hide_balls()
        environment = TabletopEnvironment()
        environment.tabletop.show_ball((0.45, 0.0, 0.1), 0.04, (0.9, 0.0, 0.9))
        run_episode(environment, policy, Trial(3, "lift_red", "lift", "lift the red block"), 0.8, 2)
        assert magenta(policy.seen[-1].images["front"][0]) > 0
        environment.tabletop.hide_balls()
        run_episode(environment, policy, Trial(20001, MARKED[0], "reach", SENTENCE), 0.4, 2)
        environment.reset(Trial(3, "lift_red", "lift", "lift the red block"))
        assert magenta(environment.render("front", 64, 64)) == 0
    finally:
        environment.close()


def test_the_sentence_does_not_tell_which():
    told = {choose(seed, Variant(marked=True)) for seed in range(6)}
    assert {task for task, _ in told} == set(MARKED) and {sentence for _, sentence in told} == {SENTENCE}
