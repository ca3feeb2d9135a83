"""`vla-ros bench NAME`: measure latency, execution, surprise, recording and export on this machine.

Each benchmark is one file of `vla_ros/bench` with its own options; see `vla-ros bench NAME --help`.
"""

from __future__ import annotations

import argparse
import importlib
import json
from typing import Any

HAS_SUBCOMMANDS = True
BENCHES = {
    "chunk": "time per chunk of a model, alone and beside the simulator",
    "uwm": "the plain sampler against the fast one, alternating, with random weights",
    "vla": "a policy head over a history, with and without cached features",
    "chunking": "every execution mode under injected inference delays: success and smoothness",
    "graph": "camera to command through the ROS graph, stage by stage, and the commander's period",
    "surprise": "anomalies in the simulator: how many the world model notices, and how soon",
    "companion": "what the world model and dashboard viewers cost the policy in the demo",
    "bags": "how many images the recorder loses from three raw 640x480 cameras at 30 Hz",
    "export": "how many times faster than real time a bag becomes a dataset",
}


class BenchParser(argparse.ArgumentParser):
    """Declares the options of a benchmark only when it is chosen: importing all of them takes seconds."""

    def __init__(self, *args: Any, bench: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        self._bench = bench

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, after declaring the options."""
        module = importlib.import_module(f"vla_ros.bench.{self._bench}")
        self.description = module.__doc__
        module.add_arguments(self)
        self.add_argument("--json", action="store_true", help="print one JSON object as the last line")
        self.set_defaults(measure=module.run, table=getattr(module, "table", None))
        return super().parse_known_args(args, namespace)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare one sub-parser for each benchmark."""
    names = parser.add_subparsers(dest="bench", metavar="NAME", required=True, parser_class=BenchParser)
    for name, summary in BENCHES.items():
        names.add_parser(name, help=summary, bench=name)


def run(args: argparse.Namespace) -> int:
    """Measure, and print JSON or a table."""
    report = args.measure(args)
    if args.json:
        print(json.dumps(report))
    else:
        print(args.table(report) if args.table else json.dumps(report, indent=1))
    return 0
