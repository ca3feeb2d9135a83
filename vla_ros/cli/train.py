"""`vla-ros train`: train a model from a file in config/training."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--config", type=Path, required=True, help="a file in config/training")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint of the run")
    parser.add_argument("--json", action="store_true", help="print the final figures as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Train, and print the final figures."""
    from vla_ros.training.run import train

    figures = train(args.config, args.resume)
    if not figures:
        return 0  # one of several processes, and not the first
    print(json.dumps(figures) if args.json else "  ".join(f"{name}: {value:.4g}" for name, value in figures.items()))
    return 0
