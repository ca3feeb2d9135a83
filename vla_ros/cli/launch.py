"""Run a launch file. Arguments are written key:=value; FILE is a path, or a name in the package's launch folder.

Uses `ros2 launch` if it is installed and knows vla_ros; otherwise runs the same file itself.
"""

from __future__ import annotations

import argparse

from vla_ros.launcher import running


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vla-ros launch`."""
    parser.add_argument("file", metavar="FILE", help="demo.launch.yaml, vla.launch.yaml, or a path")
    parser.add_argument("arguments", metavar="key:=value", nargs="*", help="launch arguments")
    parser.add_argument("-s", "--show-args", action="store_true", help="list the arguments of the file and exit")
    parser.add_argument("--own", action="store_true", help="use the built-in launcher even if ros2 is installed")


def run(args: argparse.Namespace) -> int:
    """Launch. Return the exit code of the first node that failed."""
    if args.show_args:
        print(running.describe_arguments(args.file))
        return 0
    return running.launch(args.file, args.arguments, own=args.own)
