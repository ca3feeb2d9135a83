"""How often a model is right about scenes it never saw, and how well it judges whether a task is done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_ros.core.abilities import Speaks
from vla_ros.core.types import Observation
from vla_ros.datasets.changes import check_of
from vla_ros.datasets.expert import HORIZON, auxiliary, run_step
from vla_ros.datasets.questions import KINDS, Question, Scene
from vla_ros.evaluation.closed_loop import wilson
from vla_ros.sim.environment import observe
from vla_ros.sim.tabletop.expert import plan_many
from vla_ros.sim.tabletop.tasks import TASKS
from vla_ros.sim.tabletop.world import Tabletop

LIMIT_STEPS = 60
SETTLED_STEPS = 5  # after the first moment that counts as done


@dataclass(frozen=True, slots=True)
class Moment:
    """An observation with the truth: privileged positions (15,), and whether the task is done.

    name: 'start', 'middle' (at random), 'done' (the first that is) or 'settled' (half a second later).
    """

    name: str
    observation: Observation
    aux: np.ndarray
    done: bool


def moments(tabletop: Tabletop, seed: int, task: str, policy: Speaks) -> Iterator[Moment]:
    """Of an episode of the expert; one that never comes to be done has neither of the last two."""
    rng = np.random.default_rng(seed)
    tabletop.reset(seed, task)
    command, middle = tabletop.joint_positions(), int(rng.integers(5, 25))
    first_done: int | None = None
    for step in range(LIMIT_STEPS):
        done = tabletop.success()
        if done and first_done is None:
            first_done = step
        name = {0: "start", middle: "middle"}.get(step, "") if first_done is None else ""
        if first_done is not None:
            name = {0: "done", SETTLED_STEPS: "settled"}.get(step - first_done, "")
        if name:
            seen = observe(tabletop, policy.contract, step * policy.contract.step_ns, "")
            yield Moment(name, seen, auxiliary(tabletop.state()), done)
        if name == "settled":
            return
        plan = plan_many(tabletop.state(), [TASKS[task]], HORIZON)[0, 0].astype(np.float64)
        run_step(tabletop, command, plan)
        command = plan


def measure_questions(
    policy: Speaks, *, episodes: int, seed: int, progress: Callable[[range], Iterator[int]] = iter
) -> dict[str, Any]:
    """Share of right answers by kind of question, and agreement of the success checker with the simulator."""
    right: dict[str, list[bool]] = defaultdict(list)
    by_family: dict[str, list[bool]] = defaultdict(list)
    by_moment: dict[str, list[bool]] = defaultdict(list)
    wrong, misjudged = list[list[str]](), list[list[Any]]()
    tabletop, rng = Tabletop(), np.random.default_rng(seed)
    try:
        for number in progress(range(seed, seed + episodes)):
            start = None
            task = list(TASKS)[number % len(TASKS)]
            check = check_of(TASKS[task])
            for moment in moments(tabletop, number, task, policy):
                start = start or moment.observation
                for kind, question in asked_of(Scene.of(moment.aux), rng):
                    said = policy.answer(moment.observation, question.text)
                    right[kind].append(said == question.answer)
                    if said != question.answer:
                        wrong.append([question.text, said, question.answer])
                said = policy.answer(moment.observation, check, start)
                agrees = (said == "yes") == moment.done
                by_family[TASKS[task].family].append(agrees)
                by_moment[moment.name].append(agrees)
                if not agrees:
                    misjudged.append([number, moment.name, check, said])
    finally:
        tabletop.close()
    return {
        "seed": seed,
        "episodes": episodes,
        "questions": table(right),
        "checker": table(by_family),
        "checker_by_moment": table(by_moment),
        "wrong": wrong[:10],
        "misjudged": misjudged[:10],
    }


def asked_of(scene: Scene, rng: np.random.Generator) -> Iterator[tuple[str, Question]]:
    """A question of each kind that has a clear answer."""
    for kind, about in KINDS.items():
        if found := list(about(scene)):
            yield kind, found[rng.integers(len(found))]


def table(groups: dict[str, list[bool]]) -> dict[str, Any]:
    """Share and number by group and over all, with the interval of the latter."""
    every = [value for values in groups.values() for value in values]
    rows: dict[str, Any] = {
        name: {"share": round(float(np.mean(values)), 4), "count": len(values)} for name, values in groups.items()
    }
    interval = [round(x, 4) for x in wilson(sum(every), len(every))]
    return rows | {"all": {"share": round(float(np.mean(every)), 4), "count": len(every), "confidence_95": interval}}
