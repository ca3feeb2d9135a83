"""Demonstrations from the scripted expert, with recovery noise, and every frame labelled with clean plans.

A quarter of the episodes is clean; in the others, bursts of displaced targets and a little jitter push the arm off its
path, while the labels stay what the expert would do from there: the policy learns to recover (Laskey et al., "DART",
arXiv 1703.09327). The expert is stateless, so each frame also gets its plans for three other tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.columns import Column
from vla_ros.core.config import to_plain
from vla_ros.core.errors import ConfigError
from vla_ros.sim.tabletop.expert import plan_many
from vla_ros.sim.tabletop.scene import COLOURS
from vla_ros.sim.tabletop.state import TrueState
from vla_ros.sim.tabletop.tasks import TASKS
from vla_ros.sim.tabletop.world import JOINTS, Tabletop

CAMERAS = ("front", "wrist")
SIZE = 64
STEP_NS = 100_000_000
HORIZON = 12
SUBSTEPS = 10  # commands per step, interpolated as the commander does at 100 Hz
FAMILY_WEIGHTS = {"reach": 3.0, "push": 5.0, "lift": 5.0, "drawer": 2.0}
LAST_SEED = 9999  # evaluation starts at 10000
LIMIT_STEPS = 70
AFTER_SUCCESS_STEPS = 8
OTHER_TASKS = 3


@dataclass(frozen=True, slots=True)
class Noise:
    """How far an episode's commands stray: jitter [rad], chance of a burst per step, its displacement [rad]."""

    jitter: float = 0.004
    burst_chance: float = 0.06
    displacement: float = 0.02
    gripper_chance: float = 0.15


CLEAN = Noise(0.0, 0.0, 0.0, 0.0)


class Disturber:
    """Adds an episode's noise to commands; `displaced` says whether the last one was in a burst."""

    def __init__(self, noise: Noise, rng: np.random.Generator) -> None:
        self.noise, self.rng = noise, rng
        self.displaced = False
        self._left = 0
        self._offset = np.zeros(7)
        self._flip = False

    def __call__(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn a clean target (7,) into the target to execute (7,)."""
        rng, noise = self.rng, self.noise
        if self._left == 0 and rng.random() < noise.burst_chance:
            self._left = int(rng.integers(2, 5))
            self._offset = np.array([*rng.normal(0, noise.displacement, 6), 0.0])
            self._flip = rng.random() < noise.gripper_chance
        self.displaced = self._left > 0
        target = target + np.array([*rng.normal(0, 1, 6) * noise.jitter, 0.0])
        if self.displaced:
            self._left -= 1
            target = target + self._offset
            target[6] = 1 - target[6] if self._flip else target[6]
        return target


def joints_meta() -> dict[str, Any]:
    """Return the tabletop's columns as meta of demonstrations: the last joint is the gripper, 0 open."""
    columns = [Column(name, "revolute") for name in JOINTS[:-1]] + [Column(JOINTS[-1], "gripper", (0.0, 1.0))]
    return {"joints": list(JOINTS), "columns": to_plain(columns)}


def auxiliary(state: TrueState) -> NDArray[np.float32]:
    """Return (15,) privileged positions: three blocks, drawer handle, fingertips [m]."""
    return np.concatenate([*(state.blocks[c] for c in COLOURS), state.handle, state.tip]).astype(np.float32)


def seen(tabletop: Tabletop, state: TrueState) -> dict[str, NDArray[Any]]:
    """Return what cameras and joints show now, and the positions that only the simulator knows."""
    images = {camera: tabletop.render(camera, SIZE, SIZE) for camera in CAMERAS}
    return images | {"state": tabletop.joint_positions().astype(np.float32), "aux": auxiliary(state)}


def run_step(tabletop: Tabletop, command: NDArray[np.float64], target: NDArray[np.float64]) -> None:
    """Move the command from `command` to `target` over one step."""
    for substep in range(1, SUBSTEPS + 1):
        tabletop.command(command + (target - command) * substep / SUBSTEPS)
        tabletop.advance(STEP_NS / SUBSTEPS / 1e9)


class Recorder:
    """Collects frames of many episodes as columns."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}

    def add(self, **values: Any) -> None:
        """Add one frame."""
        for name, value in values.items():
            self.columns.setdefault(name, []).append(value)

    def drop_last(self, count: int) -> None:
        """Forget the last `count` frames."""
        for column in self.columns.values():
            del column[len(column) - count :]

    def save(self, folder: Path) -> int:
        """Write one array per column; return the number of frames."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, column in self.columns.items():
            np.save(folder / f"{name}.npy", np.stack(column))
        return len(self.columns["task"])


def record(
    tabletop: Tabletop, recorder: Recorder, episode: int, task: str, limit: int, rng: np.random.Generator, noise: Noise
) -> bool:
    """Let the expert do `task` from the present state and record each step; return whether it succeeded."""
    names, disturb = list(TASKS), Disturber(noise, rng)
    command, after = tabletop.joint_positions(), -1
    for frame in range(limit):
        others = rng.choice([n for n in names if n != task], OTHER_TASKS, replace=False)
        tasks = [task, *others]
        state = tabletop.state()
        plans = plan_many(state, [TASKS[name] for name in tasks], HORIZON)
        executed = disturb(plans[0, 0].astype(np.float64))
        recorder.add(
            **seen(tabletop, state),
            executed=executed.astype(np.float32),
            displaced=disturb.displaced,
            plans=plans,
            plan_task=np.array([names.index(n) for n in tasks], dtype=np.int8),
            episode=np.int32(episode),
            frame=np.int16(frame),
            task=np.int8(names.index(task)),
        )
        run_step(tabletop, command, executed)
        command = executed
        if after < 0 and tabletop.success():
            after = AFTER_SUCCESS_STEPS
        if after == 0:
            return True
        after -= after > 0
    return after >= 0


def record_episodes(seeds: Iterable[int]) -> tuple[Recorder, dict[str, list[int]]]:
    """Return the frames of an episode per seed, number 2 * seed + 1 (2 * seed is the one it interrupted).

    Also return task -> [successes, attempts]; failed episodes are left out.
    """
    tabletop, recorder, counts = Tabletop(), Recorder(), {name: [0, 0] for name in TASKS}
    names = list(TASKS)
    sizes = {family: sum(t.family == family for t in TASKS.values()) for family in FAMILY_WEIGHTS}
    weights = np.array([FAMILY_WEIGHTS[t.family] / sizes[t.family] for t in TASKS.values()])
    for seed in seeds:
        rng = np.random.default_rng([seed, 1])
        task, other = rng.choice(names, 2, p=weights / weights.sum(), replace=False)
        noise = CLEAN if rng.random() < 0.25 else Noise()
        tabletop.reset(seed, task, spread=float(rng.random() < 0.7))
        if rng.random() < 0.2 and TASKS[other].family != "lift":  # start in the middle of another task
            record(tabletop, recorder, 2 * seed, other, int(rng.integers(4, 12)), rng, noise)
            tabletop.begin(task)
        before = len(recorder.columns.get("task", []))
        done = record(tabletop, recorder, 2 * seed + 1, task, LIMIT_STEPS, rng, noise)
        counts[task][0] += done
        counts[task][1] += 1
        if not done:
            recorder.drop_last(len(recorder.columns["task"]) - before)
    tabletop.close()
    return recorder, counts


def check_seeds(seed: int, episodes: int) -> None:
    """Raise ConfigError unless `episodes` seeds from `seed` on are training's."""
    if episodes < 1:
        raise ConfigError(f"episodes must be > 0, got {episodes}")
    last = seed + episodes - 1
    if not 0 <= seed <= last <= LAST_SEED:
        raise ConfigError(f"seeds must be 0 to {LAST_SEED}, got {seed} to {last}; evaluation uses the others")


def collect_shard(folder: Path, seeds: list[int]) -> dict[str, list[int]]:
    """Record an episode for each seed into one shard; return task -> [successes, attempts]."""
    recorder, counts = record_episodes(seeds)
    recorder.save(folder)
    return counts


def collect_demonstrations(out: Path, episodes: int, seed: int, processes: int, shard_size: int = 100) -> Iterator[int]:
    """Write `episodes` demonstrations under `out`; yield the number of episodes done as shards are finished."""
    check_seeds(seed, episodes)
    if processes < 1:
        raise ConfigError(f"processes must be > 0, got {processes}")
    if any(out.glob("shard_*")) or (out / "meta.json").exists():
        raise ConfigError(f"{out}: holds demonstrations already, whole or in part; remove them or choose another --out")
    shards = [list(range(s, min(s + shard_size, seed + episodes))) for s in range(seed, seed + episodes, shard_size)]
    counts, done = {name: [0, 0] for name in TASKS}, 0
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(collect_shard, out / f"shard_{i:03d}", seeds): len(seeds) for i, seeds in enumerate(shards)}
        for job in as_completed(jobs):
            for name, (successes, attempts) in job.result().items():
                counts[name] = [counts[name][0] + successes, counts[name][1] + attempts]
            done += jobs[job]
            yield done
    _write_meta(out, episodes, seed, counts)


def _write_meta(out: Path, episodes: int, seed: int, counts: dict[str, list[int]]) -> None:
    frames = sum(len(np.load(shard / "task.npy", mmap_mode="r")) for shard in out.glob("shard_*"))
    meta = {
        "tasks": list(TASKS),
        **joints_meta(),
        "cameras": list(CAMERAS),
        "step_ns": STEP_NS,
        "horizon": HORIZON,
        "seed": seed,
        "episodes": episodes,
        "frames": frames,
        "noise": asdict(Noise()),
        "expert_success": {name: f"{s}/{n}" for name, (s, n) in counts.items()},
    }
    (out / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
