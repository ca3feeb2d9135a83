"""Wrong plans and wrong joint states at the commander; a scripted swing takes the policy's place."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from alterations import (
    Alter,
    Frozen,
    ahead,
    lacking,
    mute,
    not_a_number,
    renamed,
    reversed_order,
    shifted,
    spoiled,
    with_one_more,
)
from harness import HOLD_S, PLAN_S, Graph, hold_under, moves_under
from waiting import until

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(
    ("fault", "alter", "cause"),
    [
        ("NaN in a chunk", spoiled(2, np.nan), "not finite: elbow_joint"),
        ("Inf in a chunk", spoiled(0, np.inf), "not finite: shoulder_pan_joint"),
        ("chunk beyond the joint limits", spoiled(2, 3.6), "elbow_joint is 0.458 outside its limits"),
        ("chunk far from the arm", shifted(0, 0.8), "shoulder_pan_joint is asked to jump by"),
        ("chunk out of the workspace", shifted(1, 0.4), "m outside the workspace"),
        ("chunk for other joints", renamed, "the plan is for the joints rail_joint"),
    ],
)
def test_a_wrong_plan(graph: Graph, row: Any, fault: str, alter: Alter, cause: str) -> None:
    line = row(fault, "not executed; hold, latched")
    hold_under(graph, line, lambda: graph.robot.alter.update(chunk=alter), ("commander", cause))


def test_plans_that_pause(graph: Graph, row: Any) -> None:
    """One missed chunk, or several: at rest, and on again with the next that begins near the arm."""
    line = row("plans pause for 1 s", "at rest; goes on with the next")
    recording = graph.robot.recording

    def pause() -> None:
        paused_s = time.time()
        graph.robot.alter["chunk"] = mute
        until(lambda: graph.world.says("commander", "waiting for a fresh plan"), 4, "the wait")
        until(lambda: time.time() > paused_s + 1.0)
        assert recording.time_to_hold_s(paused_s) < PLAN_S + HOLD_S
        graph.robot.swing()  # from where the arm stands
        graph.robot.alter.clear()

    moves_under(graph, line, pause)


def test_no_more_plans(graph: Graph, row: Any) -> None:
    line = row("plans stop", "at rest after plan_timeout_s, then latched")
    hold_under(graph, line, lambda: graph.robot.alter.update(chunk=mute), ("commander", "the plan is stale"))


@pytest.mark.parametrize(
    ("fault", "alter", "cause"),
    [
        ("joint states stop", mute, "joint states are stale"),
        ("joint states freeze", Frozen(), "joint states are not newer than the last ones"),
        ("joint states of the future", ahead, "joint states are stamped"),
        ("NaN in joint states", not_a_number, "joint states are not finite: shoulder_lift_joint"),
        ("a joint is missing", lacking, "joint states lack elbow_joint"),
    ],
)
def test_wrong_joint_states(graph: Graph, row: Any, fault: str, alter: Alter, cause: str) -> None:
    line = row(fault, "controlled stop, latched")
    hold_under(graph, line, lambda: graph.robot.alter.update(joint_states=alter), ("commander", cause))


@pytest.mark.parametrize(
    ("fault", "alter"),
    [("joint names reordered", reversed_order), ("an extra joint", with_one_more)],
    ids=["reordered", "extra"],
)
def test_joint_states_that_are_mapped_by_name(graph: Graph, row: Any, fault: str, alter: Alter) -> None:
    line = row(fault, "mapped by name; goes on")
    moves_under(graph, line, lambda: graph.robot.alter.update(joint_states=alter))
