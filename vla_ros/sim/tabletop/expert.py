"""The scripted expert: from the true state alone, the next joint targets for a task. It remembers nothing.

Where it stands decides the phase, so the same function plans from anywhere: mid-task, after a slip, or for another task
than the one under way. Waypoints ahead are followed at a bounded speed; joints follow by inverse kinematics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vla_ros.sim.tabletop.tasks import REACH_HEIGHT_M, Task
from vla_ros.sim.tabletop.ur5e import solve

if TYPE_CHECKING:
    from vla_ros.sim.tabletop.state import TrueState

Array = NDArray[np.float64]

STEP_M = 0.025  # tip travel per 0.1 s step
TRAVEL_Z = 0.12  # clear of blocks, and the hand's palm of the drawer
HOOK_Z = 0.20  # clear of the drawer's handle
GRASP_Z, PUSH_Z = 0.018, 0.022
BEHIND_M = 0.05  # tip to block centre before a push
PUSH_TO_M = 0.25  # pushed blocks go this far out
LIFT_TO_M = 0.16
OPEN, CLOSED = 0.0, 1.0
HOOK_X, HOOK_DZ = 0.027, -0.004  # the tip's place behind the handle
PULLED_X = 0.50  # the handle's place when the drawer is open


@dataclass(frozen=True, slots=True)
class Waypoint:
    """Go to `tip` (3,) with the gripper at `gripper`, and stay there for `hold` steps."""

    tip: Array
    gripper: float
    hold: int = 0


def plan(state: TrueState, task: Task, steps: int = 12) -> NDArray[np.float32]:
    """(steps, 7) absolute joint targets, one each 0.1 s, the first one step from now."""
    return plan_many(state, [task], steps)[0]


def plan_many(state: TrueState, tasks: Sequence[Task], steps: int = 12) -> NDArray[np.float32]:
    """(K, steps, 7): a plan for each task, solved together."""
    paths = np.stack([_follow(state, _PHASES[task.verb](state, task), steps) for task in tasks])  # (K, steps, 4)
    joints = np.repeat(state.joints[None], len(tasks), axis=0)
    targets = np.empty((len(tasks), steps, 7), dtype=np.float32)
    for step in range(steps):
        joints = solve(paths[:, step, :3], joints, iterations=3)
        targets[:, step, :6], targets[:, step, 6] = joints, paths[:, step, 3]
    return targets


def _follow(state: TrueState, waypoints: Sequence[Waypoint], steps: int) -> Array:
    """(steps, 4): tip and gripper along the waypoints at no more than STEP_M a step, staying at the last."""
    tip, rows, queue = state.tip.copy(), [], list(waypoints)
    held = 0
    for _ in range(steps):
        goal = queue[0]
        ahead = goal.tip - tip
        distance = float(np.linalg.norm(ahead))
        tip = goal.tip.copy() if distance <= STEP_M else tip + ahead * (STEP_M / distance)
        rows.append([*tip, goal.gripper])
        if distance <= STEP_M:
            held += 1
            if held > goal.hold and len(queue) > 1:
                queue.pop(0)
                held = 0
    return np.array(rows)


def _over(state: TrueState, place: Array, height: float, gripper: float) -> list[Waypoint]:
    """Up, across at `height`, above `place`; nothing where the tip is above it already."""
    across = float(np.linalg.norm(place[:2] - state.tip[:2]))
    if across < 0.012:
        return []
    over = np.array([*place[:2], height])
    if state.tip[2] < height - 0.02 and across > 0.03:
        return [Waypoint(np.array([*state.tip[:2], height]), gripper), Waypoint(over, gripper)]
    return [Waypoint(over, gripper)]


def _reach(state: TrueState, task: Task) -> list[Waypoint]:
    goal = state.blocks[task.colour] + np.array([0.0, 0.0, REACH_HEIGHT_M])
    return [*_over(state, goal, max(TRAVEL_Z, goal[2]), OPEN), Waypoint(goal, OPEN)]


def _push(state: TrueState, task: Task) -> list[Waypoint]:
    sign = 1.0 if task.verb == "push_left" else -1.0
    block = state.blocks[task.colour]
    start = np.array([block[0], block[1] - sign * BEHIND_M, PUSH_Z])
    end = np.array([block[0], sign * (PUSH_TO_M - 0.028), PUSH_Z])
    behind = sign * (block[1] - state.tip[1]) > 0.022
    if abs(state.tip[0] - block[0]) < 0.016 and state.tip[2] < 0.04 and behind:
        return [Waypoint(end, CLOSED)]
    return [*_over(state, start, TRAVEL_Z, CLOSED), Waypoint(start, CLOSED), Waypoint(end, CLOSED)]


def _lift(state: TrueState, task: Task) -> list[Waypoint]:
    block = state.blocks[task.colour]
    grasp = np.array([*block[:2], max(GRASP_Z, block[2] - 0.004)])
    lifted = np.array([*block[:2], LIFT_TO_M])
    offset = state.tip - block
    around = float(np.linalg.norm(offset[:2])) < 0.014 and abs(offset[2]) < 0.016
    if around and state.gripper > 0.42:
        return [Waypoint(np.array([*state.tip[:2], LIFT_TO_M]), CLOSED)]
    if around:
        return [Waypoint(grasp, CLOSED, hold=3), Waypoint(lifted, CLOSED)]
    if state.gripper > 0.2 and state.tip[2] < block[2] + 0.06:  # closed beside or above it: rise and open first
        return [
            Waypoint(np.array([*state.tip[:2], TRAVEL_Z]), OPEN),
            Waypoint(np.array([*block[:2], TRAVEL_Z]), OPEN),
            Waypoint(grasp, OPEN),
            Waypoint(grasp, CLOSED, hold=3),
            Waypoint(lifted, CLOSED),
        ]
    return [
        *_over(state, grasp, TRAVEL_Z, OPEN),
        Waypoint(grasp, OPEN),
        Waypoint(grasp, CLOSED, hold=3),
        Waypoint(lifted, CLOSED),
    ]


def _open_drawer(state: TrueState, task: Task) -> list[Waypoint]:
    hook = state.handle + np.array([HOOK_X, 0.0, HOOK_DZ])
    pulled = np.array([PULLED_X + HOOK_X, state.handle[1], hook[2]])
    offset = state.tip - state.handle
    if 0.008 < offset[0] < 0.05 and abs(offset[1]) < 0.03 and offset[2] < 0.012:
        return [Waypoint(pulled, CLOSED)]
    return [*_over(state, hook, HOOK_Z, CLOSED), Waypoint(hook, CLOSED), Waypoint(pulled, CLOSED)]


_PHASES: dict[str, Callable[[TrueState, Task], list[Waypoint]]] = {
    "reach": _reach,
    "push_left": _push,
    "push_right": _push,
    "lift": _lift,
    "open_drawer": _open_drawer,
}
