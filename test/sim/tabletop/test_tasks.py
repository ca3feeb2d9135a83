"""What each task means, and how people ask for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from vla_ros.sim.tabletop.scene import COLOURS
from vla_ros.sim.tabletop.state import TrueState
from vla_ros.sim.tabletop.tasks import (
    DRAWER_OPENING_M,
    LIFT_HEIGHT_M,
    PUSH_DISTANCE_M,
    REACH_HEIGHT_M,
    REACH_TOLERANCE_M,
    TASKS,
    Task,
    instruction_to_task,
    is_done,
    wordings,
)

EVERY_TASK = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
START = TrueState(
    joints=np.zeros(6),
    gripper=0.0,
    tip=np.array([0.45, 0.0, 0.3]),
    handle=np.array([0.62, 0.0, 0.1]),
    drawer=0.0,
    blocks={colour: np.array([0.36 + 0.08 * i, 0.0, 0.02]) for i, colour in enumerate(COLOURS)},
)


def moved(colour: str, by: tuple[float, float, float]) -> TrueState:
    return replace(START, blocks={**START.blocks, colour: START.blocks[colour] + np.array(by)})


def done(state: TrueState) -> set[str]:
    return {name for name, task in TASKS.items() if is_done(task, START, state)}


def test_thirteen_tasks_in_four_families() -> None:
    assert Counter(task.family for task in TASKS.values()) == {"reach": 3, "push": 6, "lift": 3, "drawer": 1}
    assert all(name == task.name for name, task in TASKS.items())


def test_nothing_is_done_at_the_start() -> None:
    assert done(START) == set()


@pytest.mark.parametrize("colour", COLOURS)
def test_a_reach_ends_within_the_tolerance_above_its_block(colour: str) -> None:
    goal = START.blocks[colour] + np.array([0.0, 0.0, REACH_HEIGHT_M])
    inside, outside = np.array([0, 0, REACH_TOLERANCE_M - 0.001]), np.array([0, 0, REACH_TOLERANCE_M + 0.001])
    assert done(replace(START, tip=goal + inside)) == {f"reach_{colour}"}
    assert done(replace(START, tip=goal + outside)) == set()


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(("side", "sign"), [("left", 1), ("right", -1)])
def test_left_is_the_robots_left(colour: str, side: str, sign: int) -> None:
    assert done(moved(colour, (0, sign * (PUSH_DISTANCE_M + 0.001), 0))) == {f"push_{side}_{colour}"}
    assert done(moved(colour, (0, sign * (PUSH_DISTANCE_M - 0.001), 0))) == set()
    assert done(moved(colour, (0.2, 0, 0))) == set()


@pytest.mark.parametrize("colour", COLOURS)
def test_a_lift_raises_its_own_block(colour: str) -> None:
    assert done(moved(colour, (0, 0, LIFT_HEIGHT_M + 0.001))) == {f"lift_{colour}"}
    assert done(moved(colour, (0, 0, LIFT_HEIGHT_M - 0.001))) == set()


def test_the_drawer_is_open_when_it_is_open_enough() -> None:
    assert done(replace(START, drawer=DRAWER_OPENING_M + 0.001)) == {"open_drawer"}
    assert done(replace(START, drawer=DRAWER_OPENING_M - 0.001)) == set()


@EVERY_TASK
def test_enough_wordings_of_both_kinds(task: Task) -> None:
    assert len(wordings(task)) >= 8 and len(wordings(task, held_out=True)) >= 4


@EVERY_TASK
def test_a_wording_names_its_colour_and_side_and_no_other(task: Task) -> None:
    for sentence in wordings(task) + wordings(task, held_out=True):
        assert [colour for colour in COLOURS if colour in sentence.split()] == ([task.colour] if task.colour else [])
        sides = [side for side in ("left", "right") if side in sentence]
        assert sides == ([task.verb.removeprefix("push_")] if task.family == "push" else [])
        assert "{" not in sentence and sentence == sentence.strip().lower()


def test_no_sentence_asks_for_two_tasks_and_none_is_in_both_sets() -> None:
    training = [sentence for task in TASKS.values() for sentence in wordings(task)]
    held_out = [sentence for task in TASKS.values() for sentence in wordings(task, held_out=True)]
    assert max(Counter(training + held_out).values()) == 1


@EVERY_TASK
def test_held_out_wordings_share_most_words_with_training(task: Task) -> None:
    known = {word for other in TASKS.values() for sentence in wordings(other) for word in sentence.split()}
    for sentence in wordings(task, held_out=True):
        words = sentence.split()
        assert sum(word in known for word in words) / len(words) >= 0.5, sentence


@EVERY_TASK
def test_known_sentences_lead_back_to_their_task(task: Task) -> None:
    for sentence in wordings(task) + wordings(task, held_out=True):
        assert instruction_to_task(sentence) == task
        assert instruction_to_task(f"  {sentence.upper()}. ") == task


@pytest.mark.parametrize("sentence", ["", "lift the yellow block", "push the red block", "x" * 10_000])
def test_unknown_sentences_lead_nowhere(sentence: str) -> None:
    assert instruction_to_task(sentence) is None
