"""`vla-ros demos`: let the scripted expert write demonstrations in the simulator."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, default=Path("data/tabletop"), help="folder to write")
    parser.add_argument("--episodes", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=0, help="the first episode's seed; up to 9999")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(args: argparse.Namespace) -> int:
    """Write demonstrations, and say how many."""
    from rich.progress import track

    from vla_ros.training.demonstrations import collect

    done = 0
    progress = iter(track(range(args.episodes), description="episodes"))
    for total in collect(args.out, args.episodes, args.seed, args.processes):
        for _ in range(total - done):
            next(progress, None)
        done = total
    next(progress, None)
    meta = json.loads((args.out / "meta.json").read_text())
    print(json.dumps(meta) if args.json else f"{meta['episodes']} episodes, {meta['frames']} frames in {args.out}")
    return 0
