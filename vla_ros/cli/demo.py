"""Run the tabletop demo: a simulated UR5e obeys instructions over ROS 2 topics. Writes a report and pictures to OUT."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vla_ros.core.errors import ConfigError
from vla_ros.launcher.running import launch

INCOMPLETE = 1
ARGUMENTS = ("instruction", "series", "episodes", "seed", "time_limit_s", "out", "model")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vla-ros demo`."""
    parser.add_argument("--instruction", help="one instruction to obey; without it, a series runs")
    parser.add_argument("--series", choices=("tour", "random"), help="each task once (default), or random tasks")
    parser.add_argument("--episodes", type=int, help="number of episodes (default: the whole tour)")
    parser.add_argument("--seed", type=int, help="seed of the first episode (default: 20000)")
    parser.add_argument("--time-limit", dest="time_limit_s", type=float, help="longest time per episode [s]")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for report and pictures")
    parser.add_argument("--model", type=Path, help="model folder, or its name in models (default: uwm_tabletop)")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object, as the last line")


def run(args: argparse.Namespace) -> int:
    """Launch the demo. Return 0 if every episode ran, whether the robot succeeded or not."""
    if args.model:
        from vla_ros.policies.loading import find_model

        find_model(args.model)
    report = args.out / "report.json"
    report.unlink(missing_ok=True)
    code = launch("demo.launch.yaml", launch_words(args), to_return=True)
    if not report.is_file():
        raise ConfigError(f"the demo ended before its first episode (exit code {code}); the lines above say why")
    found = json.loads(report.read_text(encoding="utf-8"))
    if args.json:
        print(json.dumps(found))
    return code if found["complete"] else code or INCOMPLETE


def launch_words(args: argparse.Namespace) -> list[str]:
    """Return the given options as `key:=value` words; the launch file has the defaults."""
    given = {name: getattr(args, name) for name in ARGUMENTS}
    return [f"{name}:={value}" for name, value in given.items() if value not in (None, "")]
