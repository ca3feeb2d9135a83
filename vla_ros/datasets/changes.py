"""Questions about changes between two moments, with which a model judges whether a task is done.

Training skips cases between done and clearly not done; evaluation asks the simulator.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vla_ros.datasets.questions import Question, Scene
from vla_ros.sim.tabletop.scene import COLOURS
from vla_ros.sim.tabletop.tasks import (
    DRAWER_OPENING_M,
    LIFT_HEIGHT_M,
    PUSH_DISTANCE_M,
    REACH_HEIGHT_M,
    REACH_TOLERANCE_M,
    Task,
)

SHORT_M = 0.015  # a block or drawer further than this from its goal has clearly not reached it
MOVED_M, STAYED_M = 0.03, 0.01  # a block further than this from its old place has moved
SIDES = {"left": 1.0, "right": -1.0}

# Verb of the task -> question whether it is done.
CHECKS = {
    "reach": "is the gripper above the {c} block",
    "lift": "was the {c} block lifted",
    "push_left": "was the {c} block pushed to the left",
    "push_right": "was the {c} block pushed to the right",
    "open_drawer": "was the drawer opened",
}


def check_of(task: Task) -> str:
    """Return the question whose answer is yes if the task is done."""
    return CHECKS[task.verb].format(c=task.colour)


def judged(text: str, value: float, goal: float, about: str, short: float = SHORT_M) -> Iterator[Question]:
    """Yield the question whether `value` has reached `goal`; nothing if that is too close to call."""
    if value >= goal or value <= goal - short:
        yield Question(text, "yes" if value >= goal else "no", about)


def about_changes(then: Scene, now: Scene) -> Iterator[Question]:
    """Yield questions on what was done since then, and on where things are now relative to then."""
    yield from judged(CHECKS["open_drawer"], now.drawer, DRAWER_OPENING_M, "opened")
    for colour in COLOURS:
        moved = now.blocks[colour] - then.blocks[colour]
        yield from judged(CHECKS["lift"].format(c=colour), float(moved[2]), LIFT_HEIGHT_M, "lifted")
        above = now.blocks[colour] + np.array([0, 0, REACH_HEIGHT_M]) - now.tip
        near = -float(np.linalg.norm(above))
        yield from judged(CHECKS["reach"].format(c=colour), near, -REACH_TOLERANCE_M, "reached")
        for side, sign in SIDES.items():
            way = sign * float(moved[1])
            yield from judged(CHECKS[f"push_{side}"].format(c=colour), way, PUSH_DISTANCE_M, "pushed")
            where = f"is the {colour} block {side} of where it was"
            yield from judged(where, way, MOVED_M, "moved", MOVED_M - STAYED_M)


def every_change() -> Iterator[str]:
    """Yield every sentence that may be asked about two moments, for the vocabulary."""
    for colour in COLOURS:
        yield from (text.format(c=colour) for text in CHECKS.values())
        yield from (f"is the {colour} block {side} of where it was" for side in SIDES)
