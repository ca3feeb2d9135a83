"""`vla-ros bench graph`: latency from camera to command through real nodes."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from vla_ros.bench.random_uwm import write_random_model
from vla_ros.core.config import to_plain
from vla_ros.core.errors import ConfigError
from vla_ros.core.robot import RobotSpec, load_robot
from vla_ros.launcher.running import launch


def bench_graph(size: int, rate_hz: float, seconds: float) -> dict[str, Any]:
    """Launch two cameras of size x size and commands at `rate_hz`; return the bench node's report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        robot = _robot(size, rate_hz)
        (folder / "robot.yaml").write_text(yaml.safe_dump(to_plain(robot), sort_keys=False))
        write_random_model(robot, folder / "model")
        report = folder / "report.json"
        words = {"robot": folder / "robot.yaml", "model": folder / "model", "seconds": float(seconds), "out": report}
        code = launch("bench.launch.yaml", [f"{key}:={value}" for key, value in words.items()], to_return=True)
        if not report.is_file():
            raise ConfigError(f"the bench ended without a report (exit code {code}); the lines above say why")
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return found


def _robot(size: int, rate_hz: float) -> RobotSpec:
    """Return the tabletop's robot with different cameras and rate."""
    robot = load_robot("ur5e_tabletop")
    cameras = tuple(replace(camera, width=size, height=size, rate_hz=20.0) for camera in robot.cameras)
    return replace(robot, cameras=cameras, command=replace(robot.command, rate_hz=rate_hz), workspace=None)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vla-ros bench graph`."""
    parser.add_argument("--size", type=int, default=224, help="pixels along a side of both cameras")
    parser.add_argument("--rate", type=float, default=200.0, help="commands per second")
    parser.add_argument("--seconds", type=float, default=20.0)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark; return the report."""
    return bench_graph(args.size, args.rate, args.seconds)
