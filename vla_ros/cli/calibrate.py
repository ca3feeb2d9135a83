"""`vla-ros calibrate surprise [BAGS...]`: learn from successful runs when to raise an alarm.

Without bags, the runs are closed-loop episodes in the simulator. Bags must be recorded by `vla-ros record` (cameras,
joint states, instruction, chunks and commands), and their episodes must be normal. The thresholds are written to
surprise.json in the model folder, where the world-model node reads them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", choices=("surprise",), help="what to calibrate")
    parser.add_argument("bags", nargs="*", type=Path, help="bags of normal runs; none: episodes in the simulator")
    parser.add_argument("--model", default="uwm_tabletop", help="model folder, or its name in models")
    parser.add_argument("--robot", default="ur5e_tabletop", help="with bags: robot contract, a YAML file or a name")
    parser.add_argument(
        "--sim-time",
        action="store_true",
        help="with bags: the nodes used simulated time; take it from /clock in the bag",
    )
    parser.add_argument("--episodes", type=int, default=120, help="closed-loop episodes in the simulator")
    parser.add_argument("--seed", type=int, default=140000, help="seed of the first; training used those below 10000")
    parser.add_argument(
        "--samples", type=int, default=4, help="samples per prediction; use the same number in the node"
    )
    parser.add_argument("--warn-rate", type=float, default=0.2, help="share of normal episodes that may reach WARN")
    parser.add_argument("--error-rate", type=float, default=0.05, help="share of normal episodes that may reach ERROR")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for the network")
    parser.add_argument("--processes", type=int, default=1, help="simulator episodes to run in parallel")
    parser.add_argument("--runs", type=Path, help="folder to cache simulator episodes in")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Watch the runs, write the thresholds and print a summary."""
    from rich.progress import track

    from vla_ros.core.surprise.calibration import calibrate_apart
    from vla_ros.evaluation.surprise_episodes import normal_episodes, watch
    from vla_ros.policies.loading import find_model

    folder = find_model(args.model)
    if args.bags:
        from vla_ros.evaluation.surprise_bags import watch_bags

        episodes = watch_bags(args.bags, args.robot, folder, args.samples, args.threads, args.sim_time)
        total = len(episodes)
    else:
        jobs = [(args.seed + i, "") for i in range(args.episodes)]
        runs = watch(
            str(folder), jobs, samples=args.samples, threads=args.threads, processes=args.processes, kept=args.runs
        )
        seen = list(track(runs, "episodes", len(jobs), disable=args.json))
        episodes, total = normal_episodes(seen), len(seen)
    found = calibrate_apart(episodes, args.warn_rate, args.error_rate)
    path = found.save(folder)
    figures = {
        "file": str(path),
        "runs": total,
        "successful": len(episodes),
        "set_thresholds": found.episodes,
        "warn": found.warn,
        "warn_rate": found.warn_rate,
        "error_rate": found.error_rate,
    }
    print(
        json.dumps(figures)
        if args.json
        else f"{path}: of {total} runs {len(episodes)} are normal, {found.episodes} of them set the thresholds: "
        f"WARN from {found.warn:.2f}, ERROR from 1"
    )
    return 0
