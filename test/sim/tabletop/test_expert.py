"""The expert: does it do every task, also when disturbed, and are its plans ones that a robot can follow."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vla_ros.sim.tabletop.expert import STEP_M, plan, plan_many
from vla_ros.sim.tabletop.tasks import TASKS
from vla_ros.sim.tabletop.ur5e import LOWER, UPPER, forward
from vla_ros.sim.tabletop.world import Tabletop

STEP_S, SUBSTEPS = 0.1, 10
TIME_LIMIT_STEPS = 60


def execute(tabletop: Tabletop, command: NDArray[np.float64], target: NDArray[np.float64]) -> None:
    """One control step, interpolated as the commander does."""
    for i in range(1, SUBSTEPS + 1):
        tabletop.command(command + (target - command) * i / SUBSTEPS)
        tabletop.advance(STEP_S / SUBSTEPS)


def steps_to_success(tabletop: Tabletop, noise_rad: float = 0.0, seed: int = 0) -> int | None:
    """Steps until the present task is done, closed loop; None where the time runs out."""
    rng, command = np.random.default_rng(seed), tabletop.joint_positions()
    for step in range(1, TIME_LIMIT_STEPS + 1):
        target = plan(tabletop.state(), tabletop.task)[0].astype(np.float64)
        target[:6] += rng.normal(0, 1, 6) * noise_rad
        execute(tabletop, command, target)
        command = target
        if tabletop.success():
            return step
    return None


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_done_within_six_seconds(tabletop: Tabletop, task: str) -> None:
    for seed in (10_000, 10_001):
        tabletop.reset(seed, task)
        assert steps_to_success(tabletop) is not None, seed


@pytest.mark.parametrize("task", ["reach_blue", "push_left_red", "push_right_green", "lift_blue", "open_drawer"])
def test_noise_on_the_commands_does_not_stop_it(tabletop: Tabletop, task: str) -> None:
    for seed in (10_100, 10_101):
        tabletop.reset(seed, task)
        assert steps_to_success(tabletop, noise_rad=0.01, seed=seed) is not None, seed


@pytest.mark.parametrize("task", TASKS)
def test_it_succeeds_from_anywhere_above_the_table(tabletop: Tabletop, task: str) -> None:
    tabletop.reset(10_200, task, spread=1.0)
    assert steps_to_success(tabletop) is not None


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("lift_red", "push_left_blue"),
        ("push_left_green", "lift_green"),
        ("open_drawer", "reach_red"),
        ("reach_blue", "open_drawer"),
    ],
)
def test_it_takes_up_another_task_halfway(tabletop: Tabletop, first: str, then: str) -> None:
    tabletop.reset(10_300, first)
    command = tabletop.joint_positions()
    for _ in range(9):
        target = plan(tabletop.state(), TASKS[first])[0].astype(np.float64)
        execute(tabletop, command, target)
        command = target
    tabletop.begin(then)
    assert steps_to_success(tabletop) is not None


@pytest.mark.parametrize("task", ["reach_green", "lift_red", "open_drawer"])
def test_it_stays_done_for_two_more_seconds(tabletop: Tabletop, task: str) -> None:
    tabletop.reset(10_400, task)
    assert steps_to_success(tabletop) is not None
    command = tabletop.joint_positions()
    for _ in range(20):
        target = plan(tabletop.state(), TASKS[task])[0].astype(np.float64)
        execute(tabletop, command, target)
        command = target
    assert tabletop.success()
    assert np.abs(tabletop.joint_velocities()[:6]).max() < 0.1


def test_a_push_leaves_the_other_blocks_where_they_are(tabletop: Tabletop) -> None:
    for seed, task in ((10_500, "push_left_red"), (10_501, "push_right_blue")):
        tabletop.reset(seed, task)
        before = tabletop.state().blocks
        assert steps_to_success(tabletop) is not None
        after = tabletop.state().blocks
        others = [colour for colour in before if colour != TASKS[task].colour]
        assert max(np.linalg.norm(after[colour] - before[colour]) for colour in others) < 0.01


def test_a_plan_depends_on_the_state_alone(tabletop: Tabletop) -> None:
    tabletop.reset(1, "lift_red")
    state = tabletop.state()
    first = plan(state, TASKS["lift_red"])
    plan(state, TASKS["open_drawer"])
    np.testing.assert_array_equal(plan(state, TASKS["lift_red"]), first)


def test_plans_solved_together_are_the_plans_solved_alone(tabletop: Tabletop) -> None:
    tabletop.reset(2, "lift_red")
    state, tasks = tabletop.state(), list(TASKS.values())
    together = plan_many(state, tasks)
    assert together.shape == (len(tasks), 12, 7) and together.dtype == np.float32
    for row, task in zip(together, tasks, strict=True):
        np.testing.assert_allclose(row, plan(state, task), atol=1e-5)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_plans_are_smooth_and_within_limits(tabletop: Tabletop, spread: float) -> None:
    for seed in range(10):
        tabletop.reset(seed, "reach_red", spread=spread)
        state = tabletop.state()
        plans = plan_many(state, list(TASKS.values())).astype(np.float64)
        arms = np.concatenate([np.repeat(state.joints[None, None], len(plans), axis=0), plans[..., :6]], axis=1)
        assert (arms >= LOWER).all() and (arms <= UPPER).all()
        assert np.isin(plans[..., 6], (0.0, 1.0)).all()
        tips = forward(arms.reshape(-1, 6))[0].reshape(len(plans), -1, 3)
        assert np.linalg.norm(np.diff(tips, axis=1), axis=-1).max() < STEP_M + 2e-3
        assert np.abs(np.diff(arms, axis=1)).max() < 0.3
