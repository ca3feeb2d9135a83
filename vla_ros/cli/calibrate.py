"""`vla-ros calibrate surprise`: from where on a departure from what was imagined is an alarm, from successful runs.

The thresholds go into the model folder, as surprise.json; the world-model node reads them there.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", choices=("surprise",), help="what to calibrate")
    parser.add_argument("--model", default="uwm_tabletop", help="model folder, or its name in models")
    parser.add_argument("--episodes", type=int, default=60, help="closed-loop episodes in the simulator")
    parser.add_argument("--seed", type=int, default=40000, help="seed of the first; training used those below 10000")
    parser.add_argument("--samples", type=int, default=2, help="answers for each prediction, as the node will draw")
    parser.add_argument("--warn-rate", type=float, default=0.2, help="share of normal episodes that may reach WARN")
    parser.add_argument("--error-rate", type=float, default=0.05, help="share of normal episodes that may reach ERROR")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for the network")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the episodes, write the file, say what it holds."""
    from rich.progress import track

    from vla_ros.policies.loading import find_model, load_policy
    from vla_ros.training.surprise import calibrate, watch

    folder = find_model(args.model)
    policy = load_policy(folder, threads=args.threads)
    runs = watch(
        policy, episodes=args.episodes, seed=args.seed, samples=args.samples,
        progress=lambda seeds: iter(track(seeds, "episodes", disable=args.json)),
    )  # fmt: skip
    found = calibrate(runs, args.warn_rate, args.error_rate)
    path = found.save(folder)
    good = sum(run.success for run in runs)
    print(json.dumps(asdict(found) | {"successful": good, "runs": len(runs)}) if args.json else
          f"{path}: WARN from {found.warn:.2f}, ERROR from {found.error:.2f} "
          f"({good} of {len(runs)} runs succeeded, {found.episodes} of them set the thresholds)")  # fmt: skip
    return 0
