"""`vla-ros demos`: let the scripted expert write demonstrations in the simulator."""

from __future__ import annotations

import argparse
import json
import time
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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from vla_ros.training.demonstrations import collect

    shown = Progress(TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                     TextColumn("{task.fields[rate]}"))  # fmt: skip
    with shown as progress:
        task, started = progress.add_task("episodes", total=args.episodes, rate=""), time.monotonic()
        for done in collect(args.out, args.episodes, args.seed, args.processes):
            rate = done / (time.monotonic() - started)
            progress.update(task, completed=done, rate=f"{rate:.1f} episodes/s")
    meta = json.loads((args.out / "meta.json").read_text())
    print(json.dumps(meta) if args.json else f"{meta['episodes']} episodes, {meta['frames']} frames in {args.out}")
    return 0
