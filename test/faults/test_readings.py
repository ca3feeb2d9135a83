"""Joint states that are wrong and look right: before arming, while the arm stands, and while it moves.

Judged by the stream of commands: whatever is read, what is sent keeps every limit, and ends where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from alterations import Alter, Now, Standing, in_degrees, swapped, wrapped, zeros
from harness import Graph, hold_under
from waiting import until

pytestmark = pytest.mark.faults

LIES = pytest.mark.parametrize(
    ("fault", "lie", "cause"),
    [
        ("zero", zeros, "joint reads 0.000, but was"),
        ("one in ten zero", Now(zeros, 10), "joint reads 0.000, but was"),
        ("in degrees", in_degrees, "outside its limits"),
        ("a turn off", wrapped, "a full turn; is it kind: continuous?"),
        ("swapped", swapped, "cannot have got there"),
    ],
)
FROZEN_S = 2.5  # until an arm at 0.3 rad/s is max_following_error off, and back


@LIES
def test_before_arming(graph: Graph, row: Any, fault: str, lie: Alter, cause: str) -> None:
    line = row(f"joint states {fault}, unarmed", "arming is refused, by name")
    graph.move()
    graph.rest()
    until(lambda: graph.world.says("commander", "fault: "), 4, "the stop")
    time.sleep(0.6)
    graph.robot.alter["joint_states"] = lie
    time.sleep(0.2)
    for _ in range(3):
        armed, said = graph.arming()
        assert not armed and cause in said
    line.observed = said
    assert graph.robot.recording.travel(time.time() - 0.2) == 0.0
    graph.robot.alter.clear()


@LIES
def test_while_standing(graph: Graph, row: Any, fault: str, lie: Alter, cause: str) -> None:
    line, recording = row(f"joint states {fault}, standing", "no command moves; latched"), graph.robot.recording
    graph.move()
    graph.rest()
    until(lambda: graph.world.says("commander", "fault: "), 4, "the stop")
    time.sleep(0.5)
    graph.arm()
    time.sleep(0.3)
    recording.begin()
    graph.world.diagnostics.pop("commander", None)
    graph.robot.alter["joint_states"] = lie
    until(lambda: graph.world.says("commander", "fault: "), 4, "a fault of the commander")
    time.sleep(1.0)
    assert graph.named("commander", cause), graph.world.diagnostics["commander"].message
    line.observed = graph.world.diagnostics["commander"].message
    line.hold_s = recording.time_to_hold_s(time.time())
    assert len(recording.since()) > 50 and recording.travel() == 0.0
    graph.robot.alter.clear()


@LIES
def test_while_moving(graph: Graph, row: Any, fault: str, lie: Alter, cause: str) -> None:
    line, recording = row(f"joint states {fault}, moving", "controlled stop, latched"), graph.robot.recording
    began_s = 0.0

    def inject() -> None:
        nonlocal began_s
        began_s = time.time()
        graph.robot.alter["joint_states"] = lie

    hold_under(graph, line, inject, ("commander", cause))
    swing = recording.positions(began_s)[:, 0]
    steps = np.abs(np.diff(swing))
    stops_at = int(np.flatnonzero(steps > 0.98 * steps.max())[-1]) + 1
    speed, joint = steps.max() * recording.robot.command.rate_hz, recording.robot.joints[0]
    most = speed**2 / (2 * joint.max_acceleration) + speed * joint.max_acceleration / joint.max_jerk
    assert abs(swing[-1] - swing[stops_at]) <= most + steps.max(), "further than it takes to stop"


def test_frozen_values_while_moving(graph: Graph, row: Any) -> None:
    """New stamps, old values: as an arm that does not follow. The command goes back to where the arm is said to be."""
    line = row("joint states frozen, moving", "fault at max_following_error; goes back")
    cause = ("commander", "the robot does not follow")
    inject: Callable[[], object] = lambda: graph.robot.alter.update(joint_states=Standing())  # noqa: E731
    hold_under(graph, line, inject, cause, limit_s=FROZEN_S)
