"""Demonstrations of the task that needs memory (`marks`): wait while a block is marked, then reach it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vla_ros.core.errors import ConfigError
from vla_ros.datasets.expert import (
    AFTER_SUCCESS_STEPS,
    CAMERAS,
    CLEAN,
    HORIZON,
    LIMIT_STEPS,
    STEP_NS,
    Disturber,
    Noise,
    Recorder,
    check_seeds,
    joints_meta,
    run_step,
    seen,
)
from vla_ros.sim.tabletop.expert import plan_many
from vla_ros.sim.tabletop.marks import MARKED, SENTENCE, SHOWN_S, hide_mark, show_mark
from vla_ros.sim.tabletop.tasks import TASKS
from vla_ros.sim.tabletop.world import Tabletop

SHOWN_STEPS = round(SHOWN_S * 1e9 / STEP_NS)


def record_marked(tabletop: Tabletop, recorder: Recorder, seed: int) -> bool:
    """Record one episode; return whether the block was reached. The arm starts near home, which reveals nothing."""
    rng = np.random.default_rng([seed, 2])
    task = TASKS[MARKED[seed % len(MARKED)]]
    disturb = Disturber(CLEAN if rng.random() < 0.25 else Noise(), rng)
    tabletop.reset(seed, task.name)
    show_mark(tabletop)
    command, left = tabletop.joint_positions(), -1
    home = command.copy()
    for frame in range(LIMIT_STEPS):
        if frame == SHOWN_STEPS:
            hide_mark(tabletop)
        state = tabletop.state()
        waits = np.tile(home, (1, HORIZON, 1)).astype(np.float32)
        plans = waits if frame < SHOWN_STEPS else plan_many(state, [task], HORIZON)
        executed = disturb(plans[0, 0].astype(np.float64))
        recorder.add(
            **seen(tabletop, state),
            executed=executed.astype(np.float32),
            displaced=disturb.displaced,
            plans=plans,
            plan_task=np.zeros(1, dtype=np.int8),
            episode=np.int32(seed),
            frame=np.int16(frame),
            task=np.int8(0),
        )
        run_step(tabletop, command, executed)
        command = executed
        if left < 0 and tabletop.success():
            left = AFTER_SUCCESS_STEPS
        if left == 0:
            break
        left -= left > 0
    hide_mark(tabletop)
    return left >= 0


def collect_marked(out: Path, episodes: int, seed: int) -> Iterator[int]:
    """Write `episodes` demonstrations under `out`, as `collect_demonstrations` does; yield the number done."""
    check_seeds(seed, episodes)
    if (out / "meta.json").exists():
        raise ConfigError(f"{out}: holds demonstrations already; remove them or choose another --out")
    tabletop, recorder, reached = Tabletop(), Recorder(), 0
    try:
        for done, number in enumerate(range(seed, seed + episodes), 1):
            reached += record_marked(tabletop, recorder, number)
            yield done
    finally:
        tabletop.close()
    frames = recorder.save(out / "shard_000")
    meta = {
        "tasks": [SENTENCE],
        **joints_meta(),
        "cameras": list(CAMERAS),
        "step_ns": STEP_NS,
        "horizon": HORIZON,
        "seed": seed,
        "episodes": episodes,
        "frames": frames,
        "expert_success": {SENTENCE: f"{reached}/{episodes}"},
    }
    (out / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
