"""Closed-loop episodes in the simulator with a witness beside them, normal ones and ones with an anomaly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_ros.core.abilities import WorldPolicy
from vla_ros.core.errors import ConfigError
from vla_ros.core.execution.plan import Plan
from vla_ros.core.robot import load_robot
from vla_ros.core.surprise.calibration import calibrate
from vla_ros.core.surprise.companion import Companion
from vla_ros.core.surprise.score import Calibration, is_inverse
from vla_ros.core.surprise.signs import Reading
from vla_ros.core.types import NS_PER_S, Observation
from vla_ros.policies.loading import load_policy
from vla_ros.sim.environment import Variant, observe
from vla_ros.sim.tabletop.anomalies import Anomaly, named
from vla_ros.sim.tabletop.environment import TabletopEnvironment

ROBOT = "ur5e_tabletop"
PREDICT_EVERY = 2  # chunks: as often as the node on one core
LIMIT_S = 5.0  # most tasks are done by then; an episode goes on after success, as a robot does
LEAST_EPISODES = 60
ONSET_S = (0.3, 1.5)  # an anomaly waits for its chance from a moment in here on
SEEN_S = 2.0  # for so long after its onset an anomaly may be noticed


@dataclass(frozen=True, slots=True)
class Run:
    """One episode: whether it succeeded, when its anomaly set in [s], and every reading with its moment [s].

    camera: where the anomaly is one camera's.
    """

    seed: int
    success: bool
    anomaly: str
    camera: str
    onset_s: float | None
    readings: tuple[tuple[float, Reading], ...]


class Episode:
    """One closed-loop episode, driven as `vla-ros eval` does, without delay."""

    def __init__(
        self, environment: TabletopEnvironment, policy: WorldPolicy, seed: int, samples: int, anomaly: Anomaly | None
    ) -> None:
        self.environment, self.policy, self.seed, self.anomaly = environment, policy, seed, anomaly
        self._rng = np.random.default_rng([seed, 1])
        torch.manual_seed(seed)
        told = environment.trial(_seed_of_task(environment, seed, anomaly), Variant())
        self.trial = replace(told, seed=seed)
        environment.reset(self.trial)
        policy.reset()
        self.companion = Companion(policy, load_robot(ROBOT), samples)
        self.camera = str(self._rng.choice([camera.name for camera in policy.contract.cameras]))
        self._from_s = float(self._rng.uniform(*ONSET_S))
        self.onset_s: float | None = None
        self._frozen: dict[str, Any] = {}
        self.readings: list[tuple[float, Reading]] = []

    def run(self, limit_s: float) -> Run:
        """Drive it to its limit."""
        contract, success, now_ns, count = self.policy.contract, False, 0, 0
        plan, command = Plan(), self.environment.joint_positions()
        while now_ns < limit_s * NS_PER_S:
            self._disturb(command, now_ns / NS_PER_S)
            if now_ns % contract.step_ns == 0:
                seen = self._observe(now_ns)
                self.companion.see(seen)
                self._note(now_ns, self.companion.look(seen))
                if now_ns % (contract.execute_steps * contract.step_ns) == 0:
                    chunk = self.policy.infer(seen)
                    plan.accept(chunk, now_ns, command)
                    if count % PREDICT_EVERY == 0:
                        self.companion.follow(chunk)
                        self.companion.imagine_if_due(now_ns)
                    count += 1
                for judged in self.companion.judge():
                    self._note(now_ns, judged.reading)
            now_ns += self.environment.control_ns
            due = plan.command(now_ns)
            command = command if due is None else due
            self.companion.command(now_ns - self.environment.control_ns, np.asarray(command, dtype=np.float64))
            self.environment.act(command)
            self.environment.step()
            success = success or self.environment.success()
        name, readings = self.anomaly.name if self.anomaly else "", tuple(self.readings)
        return Run(self.seed, success, name, self.camera, self.onset_s, readings)

    def _note(self, now_ns: int, reading: Reading) -> None:
        if reading:
            self.readings.append((now_ns / NS_PER_S, reading))

    def _disturb(self, command: Any, now_s: float) -> None:
        anomaly = self.anomaly
        if anomaly is None or self.onset_s is not None or not anomaly.shows(self.environment.tabletop, command):
            return
        if now_s < self._from_s and not anomaly.closing:  # most tasks close the gripper at once, and once
            return
        self.onset_s = now_s
        if anomaly.disturb is None:
            self._frozen = {self.camera: self._observe(0).images[self.camera]}
        else:
            anomaly.disturb(self.environment.tabletop, self._rng, self.camera)

    def _observe(self, now_ns: int) -> Observation:
        seen = observe(self.environment, self.policy.contract, now_ns, self.trial.instruction)
        return Observation(now_ns, {**seen.images, **self._frozen}, seen.state, seen.instruction)


def _seed_of_task(environment: TabletopEnvironment, seed: int, anomaly: Anomaly | None) -> int:
    """Return the task's seed: the episode's own, or the next that closes the gripper if the anomaly wants that."""
    while anomaly is not None and anomaly.closing and environment.trial(seed, Variant()).family == "reach":
        seed += 1
    return seed


Job = tuple[int, str]  # a seed, and an anomaly's name or nothing


def watch(
    model: str, jobs: Sequence[Job], *, samples: int, threads: int = 1, processes: int = 1, kept: Path | None = None
) -> Iterator[Run]:
    """Run the episodes, in order, `processes` at a time. kept: a folder for those that are done; they are not run
    again, so that a long bench may be broken off and go on. It must hold episodes of the same model and samples.
    """
    missing = [job for job in jobs if kept is None or not _path(kept, job).is_file()]
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin, (model, threads)) as pool:
        fresh = dict(zip(missing, (pool.submit(_run, job, samples) for job in missing), strict=True))
        for job in jobs:
            run = fresh.pop(job).result() if job in fresh else _load(_path(kept or Path(), job))
            if kept is not None:
                _save(run, _path(kept, job))
            yield run


_policy: Any = None  # of a worker process


def _begin(model: str, threads: int) -> None:
    global _policy
    _policy = load_policy(model, threads=threads)


def _run(job: Job, samples: int) -> Run:
    seed, name = job
    environment = TabletopEnvironment()  # a table that was disturbed is not put right again
    try:
        return Episode(environment, _policy, seed, samples, named(name) if name else None).run(LIMIT_S)
    finally:
        environment.close()


def _path(folder: Path, job: Job) -> Path:
    return folder / f"{job[1].replace(' ', '_') or 'normal'}_{job[0]}.json"


def _save(run: Run, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = asdict(run) | {
        "readings": [
            [time_s, {k: [float(f"{x:.5g}") for x in v] for k, v in reading.items()}]
            for time_s, reading in run.readings
        ]
    }
    path.write_text(json.dumps(plain), encoding="utf-8")


def _load(path: Path) -> Run:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        readings = [(time_s, {k: np.asarray(v) for k, v in reading.items()}) for time_s, reading in plain["readings"]]
        return Run(**plain | {"readings": tuple(readings)})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: {error}; it must be an episode of `--runs`, or not exist") from None


def normal_episodes(runs: Sequence[Run]) -> list[list[Reading]]:
    """The readings of those that succeeded; ConfigError where they are too few to say what is normal."""
    good = [[reading for _, reading in run.readings] for run in runs if run.success]
    if len(good) < LEAST_EPISODES:
        raise ConfigError(f"{LEAST_EPISODES} or more runs must succeed, got {len(good)} of {len(runs)}")
    return good


def calibrate_runs(runs: Sequence[Run], warn_rate: float, error_rate: float, inverse: bool = True) -> Calibration:
    """From those that succeeded. inverse: whether inverse dynamics counts."""
    return calibrate(normal_episodes(runs), warn_rate, error_rate, lambda sign: inverse or not is_inverse(sign))
