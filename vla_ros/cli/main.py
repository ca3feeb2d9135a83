"""`vla-ros SUBCOMMAND`: runs a sub-command, and turns errors that the user can fix into one line.

A sub-command is a file in this folder with `add_arguments(parser)` and `run(args) -> int` (the exit code), and a line
in `COMMANDS`.
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
    "launch": "run a launch file, with `ros2 launch` if it is installed",
    "eval": "evaluate a model: in the simulator, as a world model, on questions, or on a bag",
    "demos": "record demonstrations of the scripted expert, or convert them to rosbags",
    "export": "turn bags into a dataset for training",
    "train": "train a model from a file in config/training",
    "calibrate": "learn when surprise should raise an alarm",
    "bench": "measure latency, execution, surprise, recording and export on this machine",
    "convert": "convert a published checkpoint to a model folder, without executing it",
    "record": "record observations, instructions and commands as a rosbag",
    "replay": "publish the messages of a bag with their original timing",
    "bag": "inspect or repair a bag",
    "dashboard": "web page that shows a robot, instructs it and stops it",
    "top": "latency from camera to command, stage by stage",
    "robot": "draft a robot's YAML from its URDF and topics, or check one",
    "doctor": "check Python, ROS, DDS, rendering, torch and models on this machine",
}
USER_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run `vla-ros`. Return the exit code: 2 for an error that the user can fix."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if words else USER_ERROR
    try:
        return _run(words[0], words[1:])
    except VlaRosError as error:
        lines = [printable(line) for line in str(error).splitlines()]  # it may quote untrusted text
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
    if not getattr(command, "HAS_SUBCOMMANDS", False):  # argparse cannot mix these with positional arguments
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
