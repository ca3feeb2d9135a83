"""`vla-ros bench chunk`: a model's latency on this machine."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", choices=["chunk"], help="chunk: time per chunk, alone and beside the simulator")
    parser.add_argument("model", nargs="?", default="uwm_tabletop", help="a model folder, or its name in models/")
    parser.add_argument("--count", type=int, default=200, help="chunks to time in each condition")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for the network")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(args: argparse.Namespace) -> int:
    """Measure, and print."""
    from vla_ros.training.bench import bench_chunks

    result = bench_chunks(args.model, threads=args.threads, device=args.device, count=args.count)
    print(json.dumps(result) if args.json else "\n".join(f"{name}: {value}" for name, value in result.items()))
    return 0
