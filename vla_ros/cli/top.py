"""`vla-ros top`: latency from camera to command of a running robot, stage by stage."""

from __future__ import annotations

import argparse
import json
import sys

CLEAR = "\033[H\033[J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--every", type=float, default=1.0, help="seconds between tables")
    parser.add_argument("--once", action="store_true", help="print one table after --every seconds, and exit")
    parser.add_argument("--json", action="store_true", help="print one JSON object per table")


def run(args: argparse.Namespace) -> int:
    """Print until interrupted. Return 1 if --once saw no node."""
    from vla_ros.monitor.top import as_data, stage_table
    from vla_ros.nodes.top import watch

    for stages, says in watch(args.every):
        clear = CLEAR if sys.stdout.isatty() and not args.once else ""
        print(json.dumps(as_data(stages, says)) if args.json else clear + stage_table(stages, says), flush=True)
        if args.once:
            return 0 if says else 1
    return 0
