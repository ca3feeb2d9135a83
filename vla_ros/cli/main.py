"""`vla-ros SUBCOMMAND`: finds the sub-command's file, runs it, and turns errors that a user can mend into one line.

A sub-command is a file of this folder with `add_arguments(parser)` and `run(args) -> int` (the exit code), and a line
of `COMMANDS`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from vla_ros.core.errors import VlaRosError, did_you_mean
from vla_ros.core.printable import printable

COMMANDS = {
    "demo": "run the tabletop demo and print its table",
    "launch": "run a launch file, with `ros2 launch` where that is installed",
    "eval": "measure a model: closed loop in the simulator, its world model, its answers, or on a bag",
    "demos": "write demonstrations of the scripted expert, or put them into rosbags",
    "export": "episodes of bags as a dataset to train on",
    "train": "train what a file of config/training describes",
    "calibrate": "when a departure from what was imagined is an alarm",
    "bench": "measure latency, execution, surprise, recording and export on this machine",
    "convert": "a published checkpoint as a model folder, without running what is in it",
    "record": "record what a robot sees, is told and does as a rosbag",
    "replay": "publish a bag's messages again, in time",
    "bag": "what a bag holds, and what is wrong with it; repair",
    "dashboard": "a page that shows the robot, instructs it and stops it",
    "top": "where the time goes between camera and command, stage by stage",
    "robot": "draft a robot's YAML from its URDF and topics, or check one",
    "doctor": "check python, ROS, DDS, rendering, torch and the models here",
}
USER_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `vla-ros`; returns the exit code: 2 for an error that the user can mend."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if words else USER_ERROR
    try:
        return _run(words[0], words[1:])
    except VlaRosError as error:
        lines = [printable(line) for line in str(error).splitlines()]  # it may quote what a stranger wrote
        print("vla-ros: error: " + "\n".join(lines), file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("vla-ros: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `vla-ros ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(name: str, words: Sequence[str]) -> int:
    if name not in COMMANDS:
        raise VlaRosError(f"unknown sub-command '{name}'{did_you_mean(name, COMMANDS)}")
    command = importlib.import_module(f"vla_ros.cli.{name}")
    parser = _parser(name, command)
    if not getattr(command, "HAS_SUBCOMMANDS", False):  # argparse cannot intermix those
        return int(command.run(parser.parse_intermixed_args(words)))
    complete = getattr(command, "complete", list)
    return int(command.run(parser.parse_args(complete(words))))


def _parser(name: str, command: ModuleType) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"vla-ros {name}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return parser


def _usage() -> str:
    lines = [f"  {name:<10}{summary}" for name, summary in COMMANDS.items()]
    return "\n".join(["usage: vla-ros SUBCOMMAND [options]   (vla-ros SUBCOMMAND --help)", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
