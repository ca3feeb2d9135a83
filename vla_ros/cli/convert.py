"""`vla-ros convert`: turn a published checkpoint into a model folder.

vla-ros convert uwm models.pt --preset libero --out models/uwm_libero
vla-ros convert kosmos_ph kosmos_ph_calvin_abcd.pt --preset calvin --backbone kosmos-2-patch14-224 --out models/kosmos

Nothing in the checkpoint is executed: a file that holds anything but tensors and plain containers is refused.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("kind", choices=["uwm", "kosmos_ph"])
    parser.add_argument("checkpoint", type=Path, help="the official models.pt, or kosmos_ph_*.pt")
    parser.add_argument("--preset", required=True, help="uwm: libero or droid; kosmos_ph: calvin")
    parser.add_argument("--backbone", type=Path, help="kosmos_ph: a folder with the config and tokenizer of Kosmos-2")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(args: argparse.Namespace) -> int:
    """Convert, and print a summary."""
    made = _kosmos_ph(args) if args.kind == "kosmos_ph" else _uwm(args)
    what = " ".join(f"{name} {value}" for name, value in made.items())
    print(json.dumps({"folder": str(args.out), **made}) if args.json else f"{args.out}: {what}")
    return 0


def _uwm(args: argparse.Namespace) -> dict[str, object]:
    from vla_ros.policies.convert.uwm import convert_uwm

    folder = convert_uwm(args.checkpoint, args.preset, args.out)
    return {"preset": args.preset, "registers": folder.network.registers}


def _kosmos_ph(args: argparse.Namespace) -> dict[str, object]:
    from vla_ros.core.errors import ConfigError
    from vla_ros.policies.convert.kosmos_ph import convert_kosmos_ph

    if args.backbone is None:
        raise ConfigError("--backbone is missing; give a folder with the config and tokenizer of Kosmos-2")
    folder = convert_kosmos_ph(args.checkpoint, args.backbone, args.preset, args.out)
    return {"preset": args.preset, "layers": folder.head.num_layers, "chunk": folder.contract.horizon}
