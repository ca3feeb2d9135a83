"""Closed-loop evaluation in the simulator, without ROS: the same plan execution as the commander, no delay."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vla_ros.core.execution.plan import Plan
from vla_ros.core.types import NS_PER_S, Observation
from vla_ros.sim.tabletop.marks import MARKED, SENTENCE, SHOWN_S, hide_mark, show_mark
from vla_ros.sim.tabletop.scene import COLOURS
from vla_ros.sim.tabletop.tasks import TASKS, wordings
from vla_ros.sim.tabletop.world import Tabletop

CONTROL_NS = NS_PER_S // 100


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """One episode: what was asked, whether it was done, when [s], and how long each chunk took [ms]."""

    seed: int
    task: str
    family: str
    instruction: str
    success: bool
    seconds: float
    chunk_ms: tuple[float, ...]


def choose(seed: int, held_out: bool, wrong_colour: bool = False, marked: bool = False) -> tuple[str, str]:
    """Task and sentence of an episode: tasks in turn, wordings by the seed.

    wrong_colour: the sentence speaks of another block than the task, so that who listens fails at the task.
    marked: the block to reach is not told, but shown for a moment.
    """
    if marked:
        return MARKED[seed % len(MARKED)], SENTENCE
    tasks = [task for task in TASKS.values() if task.colour or not wrong_colour]
    task, rng = tasks[seed % len(tasks)], np.random.default_rng(seed)
    sentences = wordings(task, held_out=held_out)
    which = int(rng.integers(len(sentences)))
    if wrong_colour:
        other = str(rng.choice([colour for colour in COLOURS if colour != task.colour]))
        sentences = wordings(replace(task, colour=other), held_out=held_out)
    return task.name, sentences[which]


def observe(tabletop: Tabletop, policy: Any, now_ns: int, instruction: str) -> Observation:
    """What the policy's cameras and joints show now."""
    images = {
        camera.name: tabletop.render(camera.name, camera.width, camera.height)[None]
        for camera in policy.contract.cameras
    }
    return Observation(now_ns, images, tabletop.joint_positions()[None].astype(np.float32), instruction)


def run_episode(
    tabletop: Tabletop, policy: Any, seed: int, task: str, instruction: str, limit_s: float, execute_steps: int
) -> EpisodeResult:
    """Drive one episode until success or the time limit."""
    tabletop.reset(seed, task)
    policy.reset()
    marked = instruction == SENTENCE
    if marked:
        show_mark(tabletop)
    plan, now_ns, chunk_ms = Plan(), 0, []
    command = tabletop.joint_positions()
    replan_ns = execute_steps * policy.contract.step_ns
    while now_ns < limit_s * NS_PER_S:
        if marked and now_ns >= round(SHOWN_S * NS_PER_S):
            hide_mark(tabletop)
        if now_ns % replan_ns == 0:
            started = time.perf_counter()
            chunk = policy.infer(observe(tabletop, policy, now_ns, instruction))
            chunk_ms.append((time.perf_counter() - started) * 1e3)
            plan.accept(chunk, now_ns, command)
        now_ns += CONTROL_NS
        due = plan.command(now_ns)
        command = command if due is None else due
        tabletop.command(command)
        tabletop.advance(CONTROL_NS / NS_PER_S)
        if tabletop.success():
            break
    if marked:
        hide_mark(tabletop)  # where the episode was shorter than that
    family = TASKS[task].family
    done = tabletop.success()
    return EpisodeResult(seed, task, family, instruction, done, now_ns / NS_PER_S, tuple(chunk_ms))


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """95 % confidence interval of a success rate (Wilson, 1927)."""
    if trials == 0:
        return 0.0, 1.0
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    spread = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    low, high = ((centre + side * spread) / (1 + z * z / trials) for side in (-1, 1))
    return max(0.0, low), min(1.0, high)


def summarise(results: list[EpisodeResult]) -> dict[str, Any]:
    """Success over all, by task and by family, with interval and latency, as plain data."""
    groups: dict[str, dict[str, list[bool]]] = {"by_task": defaultdict(list), "by_family": defaultdict(list)}
    for result in results:
        groups["by_task"][result.task].append(result.success)
        groups["by_family"][result.family].append(result.success)
    done = sum(result.success for result in results)
    chunk_ms = np.concatenate([result.chunk_ms for result in results])
    finished = [result.seconds for result in results if result.success]
    return {
        "success_rate": round(done / len(results), 4),
        "confidence_95": [round(x, 4) for x in wilson(done, len(results))],
        "episodes": len(results),
        **{
            name: {key: {"success_rate": round(sum(v) / len(v), 4), "episodes": len(v)} for key, v in group.items()}
            for name, group in groups.items()
        },
        "seconds_to_success_p50": round(float(np.median(finished)), 2) if finished else None,
        "chunk_ms_p50": round(float(np.percentile(chunk_ms, 50)), 2),
        "chunk_ms_p99": round(float(np.percentile(chunk_ms, 99)), 2),
        "failed": [[r.seed, r.task, r.instruction] for r in results if not r.success],
    }


def evaluate(
    policy: Any, *, episodes: int, seed: int, held_out: bool = False, wrong_colour: bool = False, marked: bool = False,
    limit_s: float = 12.0, execute_steps: int | None = None, progress: Callable[[range], Iterator[int]] = iter,
) -> list[EpisodeResult]:  # fmt: skip
    """Run `episodes` episodes with the seeds `seed`, `seed + 1`, ..."""
    tabletop, steps = Tabletop(), execute_steps or policy.contract.execute_steps
    try:
        return [
            run_episode(tabletop, policy, s, *choose(s, held_out, wrong_colour, marked), limit_s, steps)
            for s in progress(range(seed, seed + episodes))
        ]
    finally:
        tabletop.close()
