"""Record every topic of a robot's contract, and the nodes' own topics, to a rosbag2 bag. Ctrl-C completes it."""

from __future__ import annotations

import argparse

from vla_ros.launcher.running import launch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--robot", default="ur5e_tabletop", help="robot contract: a YAML file, or a name in config/robots"
    )
    parser.add_argument("--out", default="bags", help="folder for the bag, which is named by date and time")
    parser.add_argument("--bag", default="", help="path of the bag itself, instead of --out")
    parser.add_argument("--storage", default="mcap", choices=("mcap", "sqlite3"))
    parser.add_argument("--compress", action="store_true", help="zstd, for mcap")
    parser.add_argument("--split-mb", type=float, default=0.0, help="start a new file after so many MB")
    parser.add_argument("--split-s", type=float, default=0.0, help="start a new file after so many seconds")
    parser.add_argument("--min-free-mb", type=float, default=1000.0, help="stop when the disk has less space left")
    parser.add_argument("--topics", nargs="*", default=[], help="more topics")
    parser.add_argument(
        "--namespace", default="", help="namespace of the nodes; relative topics of the contract are resolved in it"
    )
    parser.add_argument("--network", action="store_true", help="also reach drivers on other machines")


def run(args: argparse.Namespace) -> int:
    """Record until interrupted."""
    flags = {"compress": str(args.compress).lower(), "local": str(not args.network).lower()}
    given = vars(args) | flags | {"topics": " ".join(args.topics)}
    names = (
        "robot",
        "out",
        "bag",
        "storage",
        "compress",
        "split_mb",
        "split_s",
        "min_free_mb",
        "topics",
        "local",
        "namespace",
    )
    return launch("record.launch.yaml", [f"{name}:={given[name]}" for name in names if given[name] != ""])
