"""Describe a robot: `init` drafts its YAML from its URDF and its topics, `check` holds a YAML against both."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from vla_ros.core.config import parse, parse_yaml
from vla_ros.core.description.check import Row, check_graph, check_urdf
from vla_ros.core.description.draft import Wishes, draft
from vla_ros.core.description.graph import Graph
from vla_ros.core.description.urdf import MAX_CHARACTERS, Urdf, read_urdf
from vla_ros.core.errors import VlaRosError
from vla_ros.core.files import read_small, write_whole
from vla_ros.core.robot import RobotSpec, load_robot

HAS_SUBCOMMANDS = True
XACRO_S = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `init` and `check`."""
    actions = parser.add_subparsers(dest="action", required=True)
    init = _action(actions, "init", "draft a YAML; what is a guess says so")
    init.add_argument("out", type=Path, help="file to write; an existing one is refused")
    init.add_argument("--name", default="", help="the robot's name; without it, the URDF's")
    init.add_argument("--gripper", action="append", metavar="JOINT", help="a gripper's joint; may be repeated")
    init.add_argument("--tool", default="", metavar="LINK", help="link that must stay in the workspace")
    check = _action(actions, "check", "hold a YAML against the URDF and the running robot; exit code 1 if wrong")
    check.add_argument("robot", help="name in config/robots, or a YAML file")
    check.add_argument("--json", action="store_true", help="print the rows as one JSON object")
    for action in (init, check):
        action.add_argument("--urdf", type=Path, help="URDF or xacro file; without it, /robot_description")
        action.add_argument(
            "--seconds", type=float, default=5.0, help="how long to watch the topics; 0: the URDF alone"
        )
        action.add_argument("--namespace", default="", help="namespace of the robot's nodes")


def _action(actions: Any, name: str, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=about, description=about)
    return parser


def run(args: argparse.Namespace) -> int:
    """Return 0, or 1 where a row is wrong."""
    if not 0 <= args.seconds <= 600:
        raise VlaRosError(f"--seconds must be 0 to 600, got {args.seconds:g}")
    return _init(args) if args.action == "init" else _check(args)


def _init(args: argparse.Namespace) -> int:
    if os.path.lexists(args.out):
        raise VlaRosError(f"{args.out} exists; name another file, or remove it")
    if not args.out.absolute().parent.is_dir():
        raise VlaRosError(f"{args.out}: there is no folder {args.out.absolute().parent}")
    graph = _graph(args)
    urdf = _urdf(args, graph)
    if urdf is None:
        raise VlaRosError("no URDF: nobody publishes /robot_description; name a file with --urdf")
    text = draft(urdf, graph, Wishes(args.name, tuple(args.gripper or ()), args.tool))
    parse(parse_yaml(text, str(args.out)), RobotSpec, str(args.out))  # a draft that would be refused leaves no file
    try:
        write_whole(args.out, text)
    except OSError as error:
        raise VlaRosError(f"{args.out}: cannot be written: {error.strerror or error}") from None
    guesses = text.count("# a guess: ")
    print(f"{args.out}: {len(graph.cameras)} cameras seen, {guesses} lines with guesses; read them, then run")
    print(f"vla-ros robot check {args.out}" + (f" --urdf {args.urdf}" if args.urdf else ""))
    return 0


def _check(args: argparse.Namespace) -> int:
    robot, graph = load_robot(args.robot), _graph(args)
    urdf = _urdf(args, graph)
    rows = [*_rows_of_urdf(robot, urdf), *(check_graph(robot, graph, args.namespace) if args.seconds else ())]
    good = all(row.state != "wrong" for row in rows)
    if args.json:
        print(json.dumps({"ok": good, "rows": [asdict(row) for row in rows]}))
    else:
        _show(rows)
    return 0 if good else 1


def _rows_of_urdf(robot: RobotSpec, urdf: Urdf | None) -> Iterator[Row]:
    if urdf is None:
        yield Row("urdf", "warn", "nobody publishes /robot_description", "name a file with --urdf")
    else:
        yield from check_urdf(robot, urdf)


def _show(rows: list[Row]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    colours = {"ok": "green", "warn": "yellow", "wrong": "red"}
    for row in rows:
        console.print(f"[{colours[row.state]}]{row.state:<5}[/]", end=" ")
        console.print(f"{row.what}: {row.said}" + (f"; {row.fix}" if row.fix else ""), markup=False)


def _graph(args: argparse.Namespace) -> Graph:
    if not args.seconds:
        return Graph()
    from vla_ros.nodes.look_around import look_around  # without ROS, a file can still be checked

    print(f"watching the topics for {args.seconds:g} s", file=sys.stderr)
    return look_around(args.seconds, args.namespace)


def _urdf(args: argparse.Namespace, graph: Graph) -> Urdf | None:
    if args.urdf is None:
        return read_urdf(graph.description) if graph.description else None
    return read_urdf(_text(args.urdf))


def _text(path: Path) -> str:
    if path.suffix == ".xacro":
        return _unfolded(path)
    try:
        return read_small(path, MAX_CHARACTERS)
    except FileNotFoundError:
        raise VlaRosError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise VlaRosError(f"{path}: cannot be read: {error}") from None


def _unfolded(path: Path) -> str:
    xacro = shutil.which("xacro")
    if xacro is None:
        raise VlaRosError(f"{path}: xacro is not installed here; where it is, run: xacro {path} > robot.urdf")
    try:
        done = subprocess.run(
            [xacro, str(path)], capture_output=True, text=True, errors="replace", timeout=XACRO_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VlaRosError(f"{path}: xacro failed: {error}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise VlaRosError(f"{path}: xacro failed: {last}")
    return done.stdout
