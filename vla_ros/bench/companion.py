"""`vla-ros bench companion`: what the world model and dashboard viewers cost the policy and the commander.

Each round runs the same random tasks of the demo in three conditions, one after the other.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.bench.viewers import viewers
from vla_ros.core.errors import ConfigError
from vla_ros.launcher.running import launch

PORT = 8080  # the launch file's
CONDITIONS = {
    "alone": {},
    "world model": {"world_model": "true"},
    "world model, viewers": {"world_model": "true", "dashboard": "true"},
}
CAMERAS = ("front", "wrist")
TOLD = ("chunk_ms_p50", "chunk_ms_p99", "camera_to_command_ms_p99")  # from the demo's report
FIGURES = {
    "commander_period_ms_p99": ("commander", "period_ms p99"),
    "commander_cpu_percent": ("commander", "cpu percent"),
    "predictions_hz": ("world_model", "prediction rate_hz"),
    "prediction_ms_p50": ("world_model", "prediction_ms p50"),
    "prediction_waited_ms_p50": ("world_model", "waited_ms p50"),
}


def bench_companion(episodes: int, rounds: int, count: int, seed: int) -> dict[str, Any]:
    """Run `episodes` in each round and condition, the last with `count` viewers, one of them stalled."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")  # as in the launch file
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(rounds):
        for name, words in CONDITIONS.items():
            watchers = count if "dashboard" in words else 0
            found[name].append(_run(episodes, seed + number * episodes, words, watchers))
    return {
        "episodes": episodes,
        "rounds": rounds,
        "viewers": count,
        "cpu_count": os.cpu_count(),
        **found,
        "policy_p99_ratio": {name: _ratio(rows, found["alone"], "chunk_ms_p99") for name, rows in found.items()},
        "policy_p50_ratio": {name: _ratio(rows, found["alone"], "chunk_ms_p50") for name, rows in found.items()},
    }


def _run(episodes: int, seed: int, words: dict[str, str], watchers: int) -> dict[str, Any]:
    from vla_ros.bench.diagnostics_log import listening

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as beside:
        given = {"series": "random", "episodes": episodes, "seed": seed, "out": folder, **words}
        figures = beside.enter_context(listening())
        answers = beside.enter_context(viewers(watchers, "127.0.0.1", PORT, CAMERAS)) if watchers else [0]
        code = launch("demo.launch.yaml", [f"{key}:={value}" for key, value in given.items()], to_return=True)
        report = Path(folder) / "report.json"
        if not report.is_file():
            raise ConfigError(f"the demo ended without a report (exit code {code}); the lines above say why")
        told = json.loads(report.read_text(encoding="utf-8"))
        row = {"successes": told["successes"]} | {name: told[name] for name in TOLD}
        for name, key in FIGURES.items():
            values = [value for value in figures[key] if value > 0]
            row[name] = round(float(np.median(values)), 2) if values else None
        return row | ({"pages_and_pictures": answers[0]} if watchers else {})


def _ratio(rows: list[dict[str, Any]], alone: list[dict[str, Any]], key: str) -> float:
    return round(float(np.median([row[key] / other[key] for row, other in zip(rows, alone, strict=True)])), 3)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vla-ros bench companion`."""
    parser.add_argument("--episodes", type=int, default=13, help="in each condition and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--viewers", type=int, default=20, help="at the dashboard, one of them stalled")
    parser.add_argument("--seed", type=int, default=10000, help="of the first episode")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark; return the report."""
    return bench_companion(args.episodes, args.rounds, args.viewers, args.seed)
