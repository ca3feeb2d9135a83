"""`vla-ros export`: episodes of bags as a dataset to train on.

One frame a control tick, assembled by the code that serves the live policy; alignment and tolerance are those of the
robot's contract (`sync`). Where a bag has marks of the recorder, they are its episodes; else it is one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="a bag's folder, or an .mcap file")
    parser.add_argument("--format", default="lerobot", help="lerobot (LeRobotDataset v3.0)")
    parser.add_argument("--out", type=Path, required=True, help="the dataset's folder, which must not be there yet")
    parser.add_argument("--robot", default="ur5e_tabletop", help="robot contract: a YAML file, or a name")
    parser.add_argument("--cameras", nargs="+", metavar="NAME", help="the cameras that matter; all by default")
    parser.add_argument("--step", type=float, metavar="S", help="time between frames; sync.history_step_s by default")
    parser.add_argument(
        "--actions", default="command", choices=["command", "chunk", "state"],
        help="where actions come from: the commands sent (default), the policy's chunks, or how the joints moved",
    )  # fmt: skip
    parser.add_argument("--chunk-topic", default="/action_chunk")
    parser.add_argument(
        "--split", default="marks", choices=["marks", "instruction"], help="also begin an episode at each new sentence"
    )
    parser.add_argument("--only-successes", action="store_true", help="leave out what was not marked a success")
    parser.add_argument("--lossless", action="store_true", help="pictures as PNG inside the tables, not as video")
    parser.add_argument("--sim-time", action="store_true", help="the nodes lived by /clock, which is on the bag")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Export, and say what came of it."""
    from vla_ros.bags.episodes import Options
    from vla_ros.bags.export import export
    from vla_ros.core.robot import load_robot

    options = Options(
        step_s=args.step, actions=args.actions, chunk_topic=args.chunk_topic, split=args.split,
        only_successes=args.only_successes, cameras=tuple(args.cameras) if args.cameras else None,
    )  # fmt: skip
    figures, report = export(
        args.bags, load_robot(args.robot), options, args.format, args.out, lossless=args.lossless,
        sim_time=args.sim_time,
    )  # fmt: skip
    speed = report.bag_s / report.work_s
    told = {
        **figures, "bag_s": round(report.bag_s, 3), "work_s": round(report.work_s, 3),
        "times_real_time": round(speed, 2), "left_out": dict(report.left_out),
    }  # fmt: skip
    if args.json:
        print(json.dumps(told))
        return 0
    print(f"{args.out}: {figures['episodes']} episodes, {figures['frames']} frames, {figures['tasks']} sentences; "
          f"{report.bag_s:.1f} s of bags in {report.work_s:.1f} s ({speed:.1f} times real time)")  # fmt: skip
    for why, count in report.left_out.items():
        print(f"  left out: {count} {why}")
    return 0
