"""`vla-ros eval`: run a model closed loop in the simulator, without ROS, and print its success."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", help="a model folder, or its name in models/")
    parser.add_argument("--episodes", type=int, default=120)
    parser.add_argument("--seed", type=int, default=10000, help="the first episode's seed; training used 0 to 9999")
    parser.add_argument("--held-out", action="store_true", help="use the wordings that training never saw")
    parser.add_argument("--execute-steps", type=int, default=None, help="actions to execute of each chunk")
    parser.add_argument("--time-limit", type=float, default=12.0, help="seconds an episode may take")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for the network")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--card", action="store_true", help="write the model card (README.md) with these figures")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(args: argparse.Namespace) -> int:
    """Evaluate, and print a table or JSON."""
    from rich.progress import track

    from vla_ros.policies.loading import find_model, load_policy
    from vla_ros.training.card import write_card
    from vla_ros.training.evaluation import evaluate, summarise

    policy = load_policy(Path(args.model), threads=args.threads, device=args.device)
    results = evaluate(
        policy, episodes=args.episodes, seed=args.seed, held_out=args.held_out, limit_s=args.time_limit,
        execute_steps=args.execute_steps, progress=lambda seeds: iter(track(seeds, description="episodes")),
    )  # fmt: skip
    summary = {**summarise(results), "seed": args.seed, "held_out_wordings": args.held_out}
    if args.card:
        write_card(find_model(args.model), summary)
    print(json.dumps(summary) if args.json else json.dumps(summary, indent=1))
    return 0
