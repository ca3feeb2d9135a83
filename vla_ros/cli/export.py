"""`vla-ros export`: turn bags into a dataset for training.

Write one frame per control tick, assembled by the code that serves the live policy; the robot's contract (`sync`) sets
alignment and tolerance. Episodes are those that the recorder marked; a bag without marks is one episode.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vla_ros.bags.episodes.assembly import EpisodeOptions
    from vla_ros.bags.episodes.frames import Reading
    from vla_ros.datasets.export import ExportReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="a bag's folder, or an .mcap file")
    parser.add_argument("--format", default="lerobot", help="lerobot (LeRobotDataset v3.0)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the dataset; must not exist yet")
    parser.add_argument("--robot", default="ur5e_tabletop", help="robot contract: a YAML file, or a name")
    parser.add_argument("--cameras", nargs="+", metavar="NAME", help="cameras to export (default: all)")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--fps", type=float, metavar="N", help="frames per second (default: from sync.history_step_s)")
    rate.add_argument("--step", type=float, metavar="S", help="the same as a period in seconds, such as 0.033")
    parser.add_argument(
        "--actions",
        default="command",
        choices=["command", "chunk", "state"],
        help="source of the actions: commands sent (default), chunks of the policy, or joint motion",
    )
    parser.add_argument("--chunk-topic", default="/action_chunk")
    parser.add_argument(
        "--split",
        default="marks",
        choices=["marks", "instruction", "none"],
        help="instruction: also start an episode at each new instruction; none: one episode per bag, ignoring marks",
    )
    parser.add_argument(
        "--only-successes", action="store_true", help="export only episodes that were marked as successful"
    )
    parser.add_argument(
        "--bridge",
        type=int,
        metavar="N",
        help="ticks in a row that may repeat the last observation (default: 2); a longer gap cuts the episode",
    )
    task = parser.add_mutually_exclusive_group()
    task.add_argument("--task", default="", metavar="SENTENCE", help="instruction for bags without one")
    task.add_argument("--task-from-name", action="store_true", help="the same, derived from the name of each bag")
    parser.add_argument(
        "--remap",
        nargs="+",
        default=[],
        metavar="TOPIC:=ON_BAG",
        help="name in the bags of a topic of the contract; not needed for bags of `vla-ros record`",
    )
    parser.add_argument("--strict", action="store_true", help="fail at the first message that cannot be read")
    parser.add_argument("--lossless", action="store_true", help="store images as PNG in the tables instead of video")
    parser.add_argument(
        "--sim-time", action="store_true", help="the nodes used simulated time; take it from /clock in the bag"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Export, and print a summary."""
    from vla_ros.core.robot import load_robot
    from vla_ros.core.signals import asked_to_end
    from vla_ros.datasets.export import Ended, export

    with asked_to_end() as asked:
        try:
            figures, report = export(
                args.bags,
                load_robot(args.robot),
                _options(args),
                args.format,
                args.out,
                lossless=args.lossless,
                reading=_reading(args),
                asked=asked,
            )
        except Ended as ended:
            print(f"vla-ros: {ended}", file=sys.stderr)
            return 128 + ended.number
    if args.json:
        print(json.dumps(figures | _plain(report)))
    else:
        _print(args.out, figures, report)
    return 0


def _options(args: argparse.Namespace) -> EpisodeOptions:
    from vla_ros.bags.episodes.assembly import BRIDGE, EpisodeOptions
    from vla_ros.bags.episodes.rate import fps_of

    return EpisodeOptions(
        step_s=args.step if args.fps is None else 1 / fps_of(args.fps),
        actions=args.actions,
        chunk_topic=args.chunk_topic,
        split=args.split,
        only_successes=args.only_successes,
        cameras=tuple(args.cameras) if args.cameras else None,
        bridge=BRIDGE if args.bridge is None else args.bridge,
        task=args.task,
    )


def _reading(args: argparse.Namespace) -> Reading:
    from vla_ros.bags.episodes.frames import Reading
    from vla_ros.bags.naming import parse_remaps

    return Reading(args.sim_time, args.strict, parse_remaps(args.remap), args.task_from_name)


def _plain(report: ExportReport) -> dict[str, object]:
    """Return the report as plain data, for --json."""
    bags = [
        {
            "bag": str(bag.path),
            "episodes": bag.episodes,
            "frames": bag.frames,
            "bridged": bag.bridged,
            "reason": bag.reason,
            "cuts": dict(bag.cuts),
            "left_out": dict(bag.left_out),
        }
        for bag in report.bags
    ]
    return {
        "bag_s": round(report.bag_s, 3),
        "work_s": round(report.work_s, 3),
        "times_real_time": round(report.bag_s / report.work_s, 2),
        "left_out": dict(report.left_out),
        "cuts": dict(report.cuts),
        "bags": bags,
    }


def _print(out: Path, figures: dict[str, object], report: ExportReport) -> None:
    """Print the report, failures first."""
    for bag in report.bags:
        if bag.reason:
            print(f"{bag.path}: no episode: {bag.reason}")
        for told in bag.told:
            print(f"{bag.path}: {told}")
    print(
        f"{out}: {figures['episodes']} episodes, {figures['frames']} frames, {figures['tasks']} sentences; "
        f"{report.bag_s:.1f} s of bags in {report.work_s:.1f} s "
        f"({report.bag_s / report.work_s:.1f} times real time)"
    )
    for why, count in report.cuts.items():
        print(f"  cut within an episode: {count} times, by {why}")
    if bridged := sum(bag.bridged for bag in report.bags):
        print(f"  bridged: {bridged} ticks repeat the observation before them")
    for why, count in report.left_out.items():
        print(f"  left out: {count} {why}")
