"""A task that needs a memory: the block to reach is marked for a moment, and the sentence does not say which it is."""

from __future__ import annotations

from vla_ros.sim.tabletop.tasks import TASKS
from vla_ros.sim.tabletop.world import Tabletop

SENTENCE = "reach the marked block"
SHOWN_S = 0.6  # for as long the mark is to be seen, and the arm is to wait
MARKED = tuple(name for name, task in TASKS.items() if task.family == "reach")
ABOVE_M, RADIUS_M, MAGENTA = 0.07, 0.028, (0.9, 0.0, 0.9)


def show_mark(tabletop: Tabletop) -> None:
    """A magenta ball over the block of the present task; nothing touches it."""
    x, y, z = tabletop.state().blocks[tabletop.task.colour].tolist()
    tabletop.show_ball((x, y, z + ABOVE_M), RADIUS_M, MAGENTA)


def hide_mark(tabletop: Tabletop) -> None:
    """Take it away; a ball of `sim.tabletop.anomalies` goes, too."""
    tabletop.hide_balls()
