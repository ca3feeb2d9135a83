"""`vla-ros bag info BAG`: topics, rates, gaps, stamps, missing topics. `vla-ros bag repair BAG`: save what is left."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=("info", "repair"))
    parser.add_argument("bag", metavar="BAG", help="a rosbag2 folder, or a lone .mcap or .db3 file, also with .zstd")
    parser.add_argument("--robot", help="info: list topics of this robot contract that are missing")
    parser.add_argument(
        "--keep-doubtful", action="store_true", help="repair: also keep messages from chunks with a wrong checksum"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Return 0, or 1 if `info` finds a topic of the contract missing."""
    return _repair(args) if args.action == "repair" else _info(args)


def _info(args: argparse.Namespace) -> int:
    from vla_ros.bags.info import inspect, missing_topics
    from vla_ros.bags.listing import listing
    from vla_ros.bags.reading.metadata import metadata_problem
    from vla_ros.bags.reading.reader import open_bag
    from vla_ros.core.robot import load_robot

    with open_bag(args.bag) as bag:
        topics = inspect(bag)
        missing = missing_topics(bag, load_robot(args.robot)) if args.robot else ()
        found: dict[str, Any] = {
            "bag": str(bag.path),
            "storage": bag.storage,
            "seconds": bag.duration_s,
            "messages": bag.count,
            "topics": [asdict(topic) for topic in topics],
            "missing": list(missing),
            "metadata": metadata_problem(bag.path),
        }
    if args.json:
        print(json.dumps(found))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        print("\n".join(listing(found, topics, width)))
    return 1 if missing else 0


def _repair(args: argparse.Namespace) -> int:
    from vla_ros.bags.salvage.repair import repair

    done = repair(args.bag, args.keep_doubtful)
    words = {"bag": str(done.path), "messages": done.messages, "damaged": str(done.damaged), "lost": list(done.lost)}
    if args.json:
        print(json.dumps(words))
    else:
        print(f"{done.path}: {done.messages} messages; the original is now {done.damaged}")
        for line in done.lost:
            print(f"  {line}")
    return 0
