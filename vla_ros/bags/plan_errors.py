"""Errors of a policy's plans against the recorded chunks and commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.bags.episodes.recorded_plans import RecordedPlans
from vla_ros.bags.open_loop import OpenLoopPlan
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import ActionChunk


@dataclass(slots=True)
class Errors:
    """Absolute errors (H, D) of each plan against one kind of record, NaN if there is nothing to compare.

    agreements: (H, G), 1 if a gripper is on the same side of its middle in the plan and the record, else 0.
    """

    errors: list[NDArray[np.float64]] = field(default_factory=list)
    agreements: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, plan: NDArray[np.float32], record: NDArray[np.float32], robot: RobotSpec) -> None:
        """Take a plan and its record, (H, D) each."""
        self.errors.append(np.abs(plan.astype(np.float64) - record))
        grippers = robot.is_gripper
        middle = (robot.limits("lower")[grippers] + robot.limits("upper")[grippers]) / 2
        plan, record = plan[:, grippers], record[:, grippers]
        same = ((plan > middle) == (record > middle)).astype(np.float64)
        same[np.isnan(record)] = np.nan
        self.agreements.append(same)

    def figures(self, robot: RobotSpec) -> dict[str, Any]:
        """Return the MAE over all, per joint and per step, the largest error, and how often the gripper agrees."""
        if not self.errors or np.isnan(all_errors := np.stack(self.errors)).all():
            return {"compared": 0}
        compared = ~np.isnan(all_errors).all(axis=(1, 2))
        agreements = np.stack(self.agreements)
        known = not np.isnan(agreements).all() if agreements.size else False
        steps = [_mean(all_errors[:, step]) for step in range(all_errors.shape[1])]
        return {
            "compared": int(compared.sum()),
            "mae": _mean(all_errors),
            "max_error": float(np.nanmax(all_errors)),
            "mae_per_joint": {n: _mean(all_errors[..., i]) for i, n in enumerate(robot.joint_names)},
            "mae_per_step": steps,
            "gripper_agreement": float(np.nanmean(agreements)) if known else None,
        }


class PlanComparison:
    """Compares answers with the record. worst: how many of the worst moments to keep."""

    def __init__(self, robot: RobotSpec, recorded: RecordedPlans, worst: int = 5) -> None:
        self._robot, self._recorded, self._keep = robot, recorded, worst
        self.chunks, self.commands = Errors(), Errors()
        self.worst: list[tuple[float, OpenLoopPlan]] = []
        self._timing: dict[str, list[float]] = {"inference_ms": [], "delay_ms": [], "recorded_inference_ms": []}
        self.plans = 0

    def add(self, answer: OpenLoopPlan) -> None:
        """Take one answer; its commands count from the moment at which the plan would have arrived."""
        self.plans += 1
        chunk, nothing = answer.chunk, np.full(answer.chunk.actions.shape, np.nan, np.float32)
        recorded = answer.recorded
        fits = recorded is not None and _is_alike(recorded, chunk)
        self.chunks.add(chunk.actions, recorded.actions if fits and recorded else nothing, self._robot)
        commands = nothing
        if self._recorded.commanded is not None:
            commands = self._recorded.commands_at(chunk.due_ns)
            commands[chunk.due_ns < answer.observation.stamp_ns + answer.delay_ns] = np.nan
        self.commands.add(chunk.actions, commands, self._robot)
        self._take_timing(answer)
        errors = self.chunks.errors[-1] if fits else self.commands.errors[-1]
        if not np.isnan(errors).all():
            self.worst = sorted([*self.worst, (float(np.nanmax(errors)), answer)], key=lambda w: -w[0])[: self._keep]

    def _take_timing(self, answer: OpenLoopPlan) -> None:
        self._timing["inference_ms"].append(answer.inference_ns / 1e6)
        self._timing["delay_ms"].append(answer.delay_ns / 1e6)
        timing = self._recorded.timings.get(answer.observation.stamp_ns)
        if timing is not None:
            self._timing["recorded_inference_ms"].append(timing.inference_ns / 1e6)

    def figures(self, start_ns: int) -> dict[str, Any]:
        """Return all figures as plain data; `at_s` counts from `start_ns`."""
        worst = [
            {
                "at_s": round((answer.observation.stamp_ns - start_ns) / 1e9, 3),
                "stamp_ns": answer.observation.stamp_ns,
                "max_error": error,
                "instruction": answer.observation.instruction,
            }
            for error, answer in self.worst
        ]
        timing = {
            name: {"p50": float(np.median(found)), "p99": float(np.quantile(found, 0.99))}
            for name, found in self._timing.items()
            if found
        }
        return {
            "plans": self.plans,
            "chunks": self.chunks.figures(self._robot),
            "commands": self.commands.figures(self._robot),
            "timing": timing,
            "worst": worst,
        }


@dataclass(frozen=True, slots=True)
class Threshold:
    """A figure that must not exceed a limit, such as `chunks.mae`."""

    name: str
    limit: float


def parse_threshold(text: str) -> Threshold:
    """Return the threshold that `NAME=NUMBER` states."""
    name, _, number = text.partition("=")
    try:
        return Threshold(name, float(number))
    except ValueError:
        raise ConfigError(f"--fail-above must be NAME=NUMBER, such as chunks.mae=0.01, got '{text}'") from None


def exceeded(figures: dict[str, Any], thresholds: Sequence[Threshold]) -> list[str]:
    """Return what exceeds its limit, in words. A figure that is missing (nothing to compare) fails too."""
    flat, found = dict(_flat(figures)), []
    for threshold in thresholds:
        if threshold.name not in flat:
            if any(threshold.name.startswith(kind) for kind in ("chunks.", "commands.", "timing.")):
                found.append(f"{threshold.name}: nothing to compare")
                continue
            raise ConfigError(f"--fail-above {threshold.name}{did_you_mean(threshold.name, flat)}")
        if not flat[threshold.name] <= threshold.limit:
            found.append(f"{threshold.name} is {flat[threshold.name]:.6g}, above {threshold.limit:g}")
    return found


def _flat(value: Any, prefix: str = "") -> list[tuple[str, float]]:
    if isinstance(value, dict):
        return [pair for name, inner in value.items() for pair in _flat(inner, f"{prefix}.{name}".lstrip("."))]
    return [(prefix, float(value))] if isinstance(value, int | float) else []


def _is_alike(one: ActionChunk, other: ActionChunk) -> bool:
    """Return whether two chunks are for the same joints at the same times."""
    if one.actions.shape != other.actions.shape or one.names != other.names:
        return False
    return one.step_ns == other.step_ns and one.start_ns == other.start_ns


def _mean(values: NDArray[np.float64]) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))
