"""`vla-ros demos`: record demonstrations of the scripted expert in the simulator, or convert them to rosbags."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, default=Path("data/tabletop"), help="folder to write")
    parser.add_argument("--episodes", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=0, help="the first episode's seed; up to 9999")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--bags", type=Path, metavar="DIR", help="convert the demonstrations in --out to rosbags in DIR instead"
    )
    parser.add_argument(
        "--marked", action="store_true", help="record the task that needs memory: reach the block that was marked"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(args: argparse.Namespace) -> int:
    """Write demonstrations, and print how many."""
    if args.bags is not None:
        return _bags(args)
    from vla_ros.datasets.expert import collect_demonstrations
    from vla_ros.datasets.marked import collect_marked

    if args.marked:
        _watch(collect_marked(args.out, args.episodes, args.seed), args.episodes)
    else:
        _watch(collect_demonstrations(args.out, args.episodes, args.seed, args.processes), args.episodes)
    meta = json.loads((args.out / "meta.json").read_text())
    print(json.dumps(meta) if args.json else f"{meta['episodes']} episodes, {meta['frames']} frames in {args.out}")
    return 0


def _bags(args: argparse.Namespace) -> int:
    from vla_ros.core.robot import load_robot
    from vla_ros.datasets.demonstrations import load_demonstrations
    from vla_ros.datasets.to_bags import write_bags

    data = load_demonstrations(args.out)
    count = len(set(data.episode.tolist()))
    _watch(write_bags(data, load_robot("ur5e_tabletop"), args.bags), count)
    told = {"episodes": count, "frames": len(data.state), "bags": len(list(args.bags.iterdir()))}
    print(json.dumps(told) if args.json else f"{count} episodes, {len(data.state)} frames, as bags in {args.bags}")
    return 0


def _watch(steps: Iterator[int], total: int) -> None:
    """Consume `steps` (episodes done so far) while showing a progress bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = Progress(
        TextColumn("episodes"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with shown as progress:
        task, started = progress.add_task("episodes", total=total, rate=""), time.monotonic()
        for done in steps:
            rate = done / (time.monotonic() - started)
            progress.update(task, completed=done, rate=f"{rate:.1f} episodes/s")
