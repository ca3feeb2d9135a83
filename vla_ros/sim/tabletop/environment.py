"""The tabletop as an `Environment`: which task a seed stands for, and the mark that is shown for a moment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.types import NS_PER_S
from vla_ros.sim.environment import Trial, Variant
from vla_ros.sim.tabletop.marks import MARKED, SENTENCE, SHOWN_S, hide_mark, show_mark
from vla_ros.sim.tabletop.scene import COLOURS
from vla_ros.sim.tabletop.tasks import TASKS, wordings
from vla_ros.sim.tabletop.world import Tabletop

CONTROL_NS = NS_PER_S // 100


class TabletopEnvironment:
    """One simulated table. tabletop: the world inside, for anomalies and truth."""

    control_ns = CONTROL_NS

    def __init__(self) -> None:
        self.tabletop = Tabletop()
        self._marked, self._now_ns = False, 0

    def trial(self, seed: int, variant: Variant) -> Trial:
        """Return the tasks in turn, with wordings drawn by the seed."""
        task, sentence = choose(seed, variant)
        return Trial(seed, task, TASKS[task].family, sentence)

    def reset(self, trial: Trial) -> None:
        """Begin a trial; a marked one shows its mark."""
        if self._marked:
            hide_mark(self.tabletop)
        self.tabletop.reset(trial.seed, trial.task)
        self._marked, self._now_ns = trial.instruction == SENTENCE, 0
        if self._marked:
            show_mark(self.tabletop)

    def joint_positions(self) -> NDArray[np.float64]:
        """Return (7,) measured positions: arm [rad], gripper 0 open to 1 closed."""
        return self.tabletop.joint_positions()

    def render(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        """Return (height, width, 3) RGB."""
        return self.tabletop.render(camera, width, height)

    def act(self, command: NDArray[np.float64]) -> None:
        """Take (7,) targets."""
        self.tabletop.command(command)

    def step(self) -> None:
        """Let 10 ms pass."""
        self.tabletop.advance(CONTROL_NS / NS_PER_S)
        self._now_ns += CONTROL_NS
        if self._marked and self._now_ns >= round(SHOWN_S * NS_PER_S):
            hide_mark(self.tabletop)
            self._marked = False

    def success(self) -> bool:
        """Tell whether the task is done now."""
        return self.tabletop.success()

    def close(self) -> None:
        """Free the renderers; from the thread that rendered."""
        self.tabletop.close()


def choose(seed: int, variant: Variant) -> tuple[str, str]:
    """Return the task and the sentence of a seed: tasks in turn, wordings drawn by the seed."""
    if variant.marked:
        return MARKED[seed % len(MARKED)], SENTENCE
    tasks = [task for task in TASKS.values() if task.colour or not variant.wrong_colour]
    task, rng = tasks[seed % len(tasks)], np.random.default_rng(seed)
    sentences = wordings(task, held_out=variant.held_out)
    which = int(rng.integers(len(sentences)))
    if variant.wrong_colour:
        other = str(rng.choice([colour for colour in COLOURS if colour != task.colour]))
        sentences = wordings(replace(task, colour=other), held_out=variant.held_out)
    return task.name, sentences[which]
