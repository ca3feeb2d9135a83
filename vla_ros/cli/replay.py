"""Publish the messages of a bag with their original timing. Without --topics: the robot's inputs.

With --commands the robot repeats the recorded commands. They are checked as a whole first, start where the recording
starts, stay within the limits of the contract, and are refused if anything else commands the robot. The robot's own
joint states are used, not the recorded ones.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from vla_ros.core.errors import ConfigError
from vla_ros.launcher.running import launch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bag", metavar="BAG", help="a rosbag2 folder, or a lone .mcap or .db3 file")
    parser.add_argument(
        "--robot", default="ur5e_tabletop", help="robot contract; says which topics are inputs and which commands"
    )
    parser.add_argument("--rate", type=float, default=1.0, help="speed factor")
    parser.add_argument("--start", dest="start_s", type=float, default=0.0, help="where in the bag to start [s]")
    parser.add_argument("--loop", action="store_true", help="start again at the end")
    parser.add_argument("--topics", nargs="*", default=[], help="only these topics; 'all': everything but commands")
    parser.add_argument("--commands", action="store_true", help="also let the robot repeat the recorded commands")
    parser.add_argument("--no-clock", dest="clock", action="store_false", help="do not publish /clock")
    parser.add_argument("--graph", action="store_true", help="also start a policy, and a commander in dry-run")
    parser.add_argument("--model", default="uwm_tabletop", help="model folder of that policy")
    parser.add_argument("--network", action="store_true", help="also reach subscribers on other machines")
    parser.add_argument("--priority", type=int, default=0, help="real-time priority, 1 to 99, for a busy machine")
    parser.add_argument(
        "--json", action="store_true", help="print count and lateness as one JSON object, as the last line"
    )


def run(args: argparse.Namespace) -> int:
    """Replay to the end, or until interrupted."""
    from vla_ros.bags.reading.reader import open_bag

    if args.commands and (args.graph or args.loop):
        other = "--graph, whose commander would command, too" if args.graph else "--loop, which jumps at its end"
        raise ConfigError(f"--commands cannot be used with {other}")
    with open_bag(args.bag):  # reports a broken contract in one line
        pass
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        given = vars(args) | {"bag": Path(args.bag).resolve(), "topics": " ".join(args.topics), "report": report}
        given |= {"local": not args.network}
        names = (
            "bag",
            "robot",
            "rate",
            "start_s",
            "loop",
            "topics",
            "commands",
            "clock",
            "graph",
            "model",
            "priority",
            "report",
            "local",
        )
        words = {name: str(given[name]).lower() if isinstance(given[name], bool) else given[name] for name in names}
        code = launch("replay.launch.yaml", [f"{k}:={v}" for k, v in words.items() if v != ""], to_return=True)
        if args.json and report.is_file():
            print(json.dumps(json.loads(report.read_text(encoding="utf-8"))))
        return code
