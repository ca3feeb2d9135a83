"""Closed-loop evaluation in the simulator, without ROS: plans are executed as by the commander, without delay."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_ros.core.abilities import Policy
from vla_ros.core.execution.plan import Plan
from vla_ros.core.types import NS_PER_S
from vla_ros.sim.environment import Environment, Trial, Variant, observe


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


def run_episode(
    environment: Environment, policy: Policy, trial: Trial, limit_s: float, execute_steps: int
) -> EpisodeResult:
    """Drive one episode until success or the time limit."""
    environment.reset(trial)
    policy.reset()
    plan, now_ns, chunk_ms = Plan(), 0, []
    command = environment.joint_positions()
    replan_ns = execute_steps * policy.contract.step_ns
    while now_ns < limit_s * NS_PER_S:
        if now_ns % replan_ns == 0:
            started = time.perf_counter()
            chunk = policy.infer(observe(environment, policy.contract, now_ns, trial.instruction))
            chunk_ms.append((time.perf_counter() - started) * 1e3)
            plan.accept(chunk, now_ns, command)
        now_ns += environment.control_ns
        due = plan.command(now_ns)
        command = command if due is None else due
        environment.act(command)
        environment.step()
        if environment.success():
            break
    done, seconds = environment.success(), now_ns / NS_PER_S
    return EpisodeResult(trial.seed, trial.task, trial.family, trial.instruction, done, seconds, tuple(chunk_ms))


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
    policy: Policy,
    environment: Environment,
    *,
    episodes: int,
    seed: int,
    variant: Variant | None = None,
    limit_s: float = 12.0,
    execute_steps: int | None = None,
    progress: Callable[[range], Iterator[int]] = iter,
) -> list[EpisodeResult]:
    """Run `episodes` episodes with the seeds `seed`, `seed + 1`, ...; the caller closes the environment."""
    steps, told = execute_steps or policy.contract.execute_steps, variant or Variant()
    return [
        run_episode(environment, policy, environment.trial(s, told), limit_s, steps)
        for s in progress(range(seed, seed + episodes))
    ]
