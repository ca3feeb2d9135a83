"""Publish a bag again when it is due. Without --topics: the robot's inputs.

With --commands the robot repeats what was commanded: checked as a whole first, then within the limits of its contract,
from where the recording begins, and only where nothing else commands it. Its own joint states are heard meanwhile.
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
    parser.add_argument("--robot", default="ur5e_tabletop", help="robot contract, which tells inputs from commands")
    parser.add_argument("--rate", type=float, default=1.0, help="how many times faster than it was")
    parser.add_argument("--start", dest="start_s", type=float, default=0.0, help="where in the bag to begin [s]")
    parser.add_argument("--loop", action="store_true", help="begin again at the end")
    parser.add_argument("--topics", nargs="*", default=[], help="these topics alone; 'all': everything but commands")
    parser.add_argument("--commands", action="store_true", help="let the robot repeat the recorded commands, too")
    parser.add_argument("--no-clock", dest="clock", action="store_false", help="leave /clock to somebody else")
    parser.add_argument("--graph", action="store_true", help="beside a policy and a commander in dry-run")
    parser.add_argument("--model", default="uwm_tabletop", help="that policy's model folder")
    parser.add_argument("--network", action="store_true", help="who listens may run on other machines")
    parser.add_argument("--priority", type=int, default=0, help="real-time priority, 1 to 99, against busy neighbours")
    parser.add_argument(
        "--json", action="store_true", help="print count and lateness as one JSON object, the last line"
    )


def run(args: argparse.Namespace) -> int:
    """Replay to the end, or until interrupted."""
    from vla_ros.bags.reading.reader import open_bag

    if args.commands and (args.graph or args.loop):
        other = "--graph, whose commander would command, too" if args.graph else "--loop, which jumps at its end"
        raise ConfigError(f"--commands cannot be used with {other}")
    with open_bag(args.bag):  # what is wrong with it is said here, in one line
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
