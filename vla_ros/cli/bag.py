"""`vla-ros bag info BAG`: topics, rates, gaps, stamps, missing topics. `vla-ros bag repair BAG`: what is left of it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=("info", "repair"))
    parser.add_argument("bag", metavar="BAG", help="a rosbag2 folder, or a lone .mcap or .db3 file")
    parser.add_argument("--robot", help="info: name the topics of this contract that are missing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """0; 1 where info finds a topic of the contract missing."""
    return _repair(args) if args.action == "repair" else _info(args)


def _info(args: argparse.Namespace) -> int:
    from vla_ros.bags.info import inspect, missing_topics
    from vla_ros.bags.reader import open_bag
    from vla_ros.core.robot import load_robot

    with open_bag(args.bag) as bag:
        topics = inspect(bag)
        missing = missing_topics(bag, load_robot(args.robot)) if args.robot else ()
        found: dict[str, Any] = {
            "bag": str(bag.path), "storage": bag.storage, "seconds": bag.duration_s, "messages": bag.count,
            "topics": [asdict(topic) for topic in topics], "missing": list(missing),
        }  # fmt: skip
    if args.json:
        print(json.dumps(found))
    else:
        _print(found)
    return 1 if missing else 0


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("topic", "type", "messages", "Hz", "longest gap s", "stamp to receipt ms, p50 / p99", "note")
    for topic in found["topics"]:
        late = "" if topic["late_ms"] is None else "{:.1f} / {:.1f}".format(*topic["late_ms"])
        table.add_row(topic["name"], topic["type"], str(topic["count"]), f"{topic['rate_hz']:.1f}",
                      f"{topic['longest_gap_s']:.3f}", late, topic["problem"])  # fmt: skip
    console = Console()
    console.print(f"{found['bag']}: {found['storage']}, {found['seconds']:.1f} s, {found['messages']} messages")
    console.print(table)
    if found["missing"]:
        console.print(f"the contract's topics that are missing: {', '.join(found['missing'])}")


def _repair(args: argparse.Namespace) -> int:
    from vla_ros.bags.repair import repair

    done = repair(args.bag)
    words = {"bag": str(done.path), "messages": done.messages, "damaged": str(done.damaged)}
    print(json.dumps(words) if args.json else f"{done.path}: {done.messages} messages; the old one is {done.damaged}")
    return 0
