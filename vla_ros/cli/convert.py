"""`vla-ros convert`: a published checkpoint as a model folder.

vla-ros convert uwm models.pt --preset libero --out models/uwm_libero

Nothing in the checkpoint is executed: a file that wants more than tensors and plain containers is refused by name.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("kind", choices=["uwm"])
    parser.add_argument("checkpoint", type=Path, help="the official models.pt")
    parser.add_argument("--preset", required=True, help="which of the published models it is: libero or droid")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to make")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(args: argparse.Namespace) -> int:
    """Convert, and say what it became."""
    from vla_ros.policies.official_uwm import convert_uwm

    folder = convert_uwm(args.checkpoint, args.preset, args.out)
    made = {"folder": str(args.out), "preset": args.preset, "registers": folder.network.registers}
    print(json.dumps(made) if args.json else f"{args.out}: {args.preset} with {folder.network.registers} registers")
    return 0
