"""Surprise of closed-loop episodes in the simulator, and the thresholds that follow from those that succeed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_ros.core.chunking import Plan
from vla_ros.core.errors import ConfigError
from vla_ros.core.expectation import Expectation, Recent, what_came
from vla_ros.core.surprise import Calibration, Departures, conformal, depart, floors_of, inverse_error_rad
from vla_ros.core.types import NS_PER_S
from vla_ros.sim.tabletop import Tabletop
from vla_ros.training.evaluation import CONTROL_NS, choose, observe

PREDICT_EVERY = 2  # chunks
LIMIT_S = 4.0  # most tasks are done by then; an episode goes on after success, as a robot does
ARM = 6  # joints; the gripper's column is no angle


@dataclass(frozen=True, slots=True)
class Run:
    """One episode: whether it succeeded; for each prediction when it was judged [s], and how reality departed."""

    success: bool
    times_s: tuple[float, ...]
    departures: tuple[Departures, ...]
    inverse_rad: tuple[float, ...]


def watch_episode(
    tabletop: Tabletop, policy: Any, seed: int, *, samples: int, limit_s: float,
    disturb: Callable[[Tabletop, float], None] = lambda tabletop, time_s: None, explain: bool = True,
) -> Run:  # fmt: skip
    """Drive one episode as `vla-ros eval` does, to its limit, and imagine every other chunk.

    disturb: called with the time [s] before each chunk.
    """
    task, instruction = choose(seed, held_out=False)
    tabletop.reset(seed, task)
    policy.reset()
    contract = policy.contract
    plan, command, now_ns = Plan(), tabletop.joint_positions(), 0
    recent, waiting = Recent(64, contract.step_ns // 2), []
    times_s: list[float] = []
    departures: list[Departures] = []
    inverse: list[float] = []
    replan_ns, count, success = contract.execute_steps * contract.step_ns, 0, False
    while now_ns < limit_s * NS_PER_S:
        if now_ns % replan_ns == 0:
            disturb(tabletop, now_ns / NS_PER_S)
            seen = observe(tabletop, policy, now_ns, instruction)
            recent.add(seen)
            chunk = policy.infer(seen)
            plan.accept(chunk, now_ns, command)
            if count % PREDICT_EVERY == 0:
                waiting.append(Expectation(seen, tuple(policy.imagine(seen, chunk) for _ in range(samples)), chunk))
            count += 1
            if waiting and (came := what_came(waiting[0], recent)) is not None:
                expectation = waiting.pop(0)
                times_s.append(now_ns / NS_PER_S)
                departures.append(depart(expectation, came, policy.latents))
                if explain:
                    inferred = policy.explain(expectation.observation, came).actions
                    steps = list(policy.folder.future_steps)
                    inverse.append(inverse_error_rad(inferred[np.array(steps) - 1, :ARM], came.state[:, :ARM]))
        now_ns += CONTROL_NS
        due = plan.command(now_ns)
        command = command if due is None else due
        tabletop.command(command)
        tabletop.advance(CONTROL_NS / NS_PER_S)
        success = success or tabletop.success()
    return Run(success, tuple(times_s), tuple(departures), tuple(inverse))


def watch(
    policy: Any, *, episodes: int, seed: int, samples: int, limit_s: float = LIMIT_S,
    progress: Callable[[range], Iterator[int]] = iter,
) -> list[Run]:  # fmt: skip
    """Episodes with the seeds `seed`, `seed + 1`, ..."""
    tabletop = Tabletop()
    try:
        return [watch_episode(tabletop, policy, s, samples=samples, limit_s=limit_s)
                for s in progress(range(seed, seed + episodes))]  # fmt: skip
    finally:
        tabletop.close()


def calibrate(runs: list[Run], warn_rate: float, error_rate: float) -> Calibration:
    """Split conformal: one third of the successful runs says what is usual, the others where an alarm begins."""
    good = [run for run in runs if run.success and run.departures]
    third = len(good) // 3
    if third == 0:
        raise ConfigError(f"{len(good)} of {len(runs)} runs succeeded and were long enough; right would be 60 or more")
    floors = floors_of([item for run in good[:third] for item in run.departures])
    blank = Calibration(0, 0, warn_rate, error_rate, 0, floors, 0, 0)
    scores = [max(blank.score(item) for item in run.departures) for run in good[third:]]
    inverse = [max(run.inverse_rad) for run in good[third:]]
    return Calibration(
        conformal(scores, warn_rate), conformal(scores, error_rate), warn_rate, error_rate, len(scores), floors,
        conformal(inverse, warn_rate), conformal(inverse, error_rate),
    )  # fmt: skip
