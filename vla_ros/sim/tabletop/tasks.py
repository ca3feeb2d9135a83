"""The thirteen tasks: what they are called, how people ask for them, and when they are done. Defined once, here.

Left is the robot's own left, +y; the front camera faces the robot, so its pictures show +y on the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vla_ros.sim.tabletop.scene import COLOURS

if TYPE_CHECKING:
    from vla_ros.sim.tabletop.state import TrueState

REACH_HEIGHT_M = 0.06  # the fingertips hover this far above a block's centre
REACH_TOLERANCE_M = 0.03
PUSH_DISTANCE_M = 0.08
LIFT_HEIGHT_M = 0.06
DRAWER_OPENING_M = 0.08


@dataclass(frozen=True, slots=True)
class Task:
    """A task by name, family ('reach', 'push', 'lift', 'drawer'), verb and, where it has one, block colour."""

    name: str
    family: str
    verb: str
    colour: str = ""


VERBS = {"reach": "reach", "push_left": "push", "push_right": "push", "lift": "lift"}
TASKS: dict[str, Task] = {
    **{f"{verb}_{c}": Task(f"{verb}_{c}", family, verb, c) for verb, family in VERBS.items() for c in COLOURS},
    "open_drawer": Task("open_drawer", "drawer", "open_drawer"),
}

_TRAINING = {
    "reach": (
        "reach the {c} block",
        "go to the {c} cube",
        "move to the {c} block",
        "reach for the {c} box",
        "touch the {c} block",
        "hover over the {c} cube",
        "go above the {c} box",
        "point at the {c} block",
        "bring the gripper to the {c} block",
        "move the hand over the {c} cube",
    ),
    "push_left": (
        "push the {c} block to the left",
        "push the {c} cube left",
        "move the {c} block to the left side",
        "shove the {c} box leftwards",
        "slide the {c} cube to the left",
        "push the {c} box over to the left",
        "move the {c} cube left",
        "slide the {c} block leftwards",
        "nudge the {c} block towards the left",
        "the {c} block should go left",
    ),
    "push_right": (
        "push the {c} block to the right",
        "push the {c} cube right",
        "move the {c} block to the right side",
        "shove the {c} box rightwards",
        "slide the {c} cube to the right",
        "push the {c} box over to the right",
        "move the {c} cube right",
        "slide the {c} block rightwards",
        "nudge the {c} block towards the right",
        "the {c} block should go right",
    ),
    "lift": (
        "lift the {c} block",
        "pick up the {c} cube",
        "lift up the {c} box",
        "raise the {c} block",
        "grasp the {c} cube and lift it",
        "pick the {c} block up",
        "grab the {c} box and raise it",
        "lift the {c} cube off the table",
        "take the {c} block and lift it up",
        "hold the {c} box up in the air",
    ),
    "open_drawer": (
        "open the drawer",
        "pull the drawer open",
        "pull open the drawer",
        "open up the drawer",
        "slide the drawer open",
        "pull the handle of the drawer",
        "pull out the drawer",
        "get the drawer open",
        "grab the handle and open the drawer",
        "the drawer should be open",
    ),
}

_HELD_OUT = {
    "reach": (
        "please reach towards the {c} cube",
        "move your gripper above the {c} box",
        "go over to the {c} block",
        "hover the hand above the {c} block",
        "can you touch the {c} cube",
    ),
    "push_left": (
        "please push the {c} cube over towards the left side",
        "give the {c} block a push to the left",
        "could you slide the {c} box left",
        "the {c} cube should be pushed leftwards",
        "shove the {c} block left",
    ),
    "push_right": (
        "please push the {c} cube over towards the right side",
        "give the {c} block a push to the right",
        "could you slide the {c} box right",
        "the {c} cube should be pushed rightwards",
        "shove the {c} block right",
    ),
    "lift": (
        "please pick up the {c} block",
        "grab the {c} cube and lift it up",
        "the {c} box should be lifted",
        "can you raise the {c} cube into the air",
        "take the {c} box off the table",
    ),
    "open_drawer": (
        "please open the drawer",
        "could you pull the drawer",
        "the drawer should be pulled open",
        "open the drawer by its handle",
        "slide out the drawer",
    ),
}


def wordings(task: Task, held_out: bool = False) -> tuple[str, ...]:
    """The sentences that ask for a task: those of training, or those that training never sees."""
    templates = (_HELD_OUT if held_out else _TRAINING)[task.verb]
    return tuple(template.format(c=task.colour) for template in templates)


def instruction_to_task(sentence: str) -> Task | None:
    """The task that a known wording asks for; None for any other sentence."""
    plain = " ".join(sentence.lower().split()).rstrip(".!?")
    for task in TASKS.values():
        if plain in wordings(task) or plain in wordings(task, held_out=True):
            return task
    return None


def is_done(task: Task, start: TrueState, now: TrueState) -> bool:
    """Whether `task`, begun in the state `start`, is done in the state `now`."""
    if task.verb == "open_drawer":
        return now.drawer >= DRAWER_OPENING_M
    block, began = now.blocks[task.colour], start.blocks[task.colour]
    if task.verb == "reach":
        goal = block + np.array([0.0, 0.0, REACH_HEIGHT_M])
        return bool(np.linalg.norm(now.tip - goal) <= REACH_TOLERANCE_M)
    if task.verb == "lift":
        return bool(block[2] - began[2] >= LIFT_HEIGHT_M)
    sign = 1.0 if task.verb == "push_left" else -1.0
    return bool(sign * (block[1] - began[1]) >= PUSH_DISTANCE_M)
