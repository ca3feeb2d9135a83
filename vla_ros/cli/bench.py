"""`vla-ros bench`: how fast a model is on this machine.

vla-ros bench chunk MODEL         time per chunk, alone and beside the simulator
vla-ros bench uwm --preset NAME   the plain sampler against the fast one, in turn, with random weights
vla-ros bench vla                 a policy head over a history, plain and with the past's features kept
vla-ros bench chunking MODEL      every execution mode under injected inference delays: success and smoothness
vla-ros bench graph --size 224    camera to command through the ROS graph, stage by stage, and the commander's period
vla-ros bench surprise MODEL      anomalies in the simulator: how many the world model's surprise notices, and when
vla-ros bench companion           what the world model, and people at the dashboard, cost the policy in the demo
vla-ros bench bags                how many pictures of three raw 640x480 cameras at 30 Hz the recorder loses
vla-ros bench export --size 224   how many times faster than real time a bag becomes a dataset
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vla_ros.core.execution.modes import EXECUTIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "what", choices=["chunk", "chunking", "uwm", "vla", "graph", "bags", "surprise", "companion", "export"]
    )
    parser.add_argument(
        "model",
        nargs="?",
        default="uwm_tabletop",
        help="chunk, chunking, surprise: a model folder, or a name in models/",
    )
    parser.add_argument("--count", type=int, default=200, help="chunk: how many to time in each condition")
    parser.add_argument(
        "--episodes",
        type=int,
        help="chunking: of each mode and delay, 26; surprise: of each anomaly, 30; companion: in each condition, 13",
    )
    parser.add_argument("--calibration", type=int, default=120, help="surprise: normal episodes to calibrate with")
    parser.add_argument("--normal", type=int, default=100, help="surprise: other normal episodes, for false alarms")
    parser.add_argument("--processes", type=int, default=1, help="surprise: episodes at a time")
    parser.add_argument("--runs", type=Path, help="surprise: keep episodes here, and take those that are here")
    parser.add_argument("--seed", type=int, default=10000, help="chunking, companion: seed of the first episode")
    parser.add_argument("--delays", type=int, nargs="+", default=[0, 1, 2, 4, 6, 8], help="chunking: in policy steps")
    parser.add_argument("--executions", nargs="+", choices=list(EXECUTIONS), default=list(EXECUTIONS))
    parser.add_argument("--preset", default="libero", help="uwm: tabletop, libero or droid")
    parser.add_argument("--batch", type=int, default=1, help="uwm: rows of a chunk")
    parser.add_argument("--steps", type=int, default=10, help="uwm: steps of DDIM")
    parser.add_argument("--rounds", type=int, help="uwm, vla: how often each is timed, 12; companion: 3")
    parser.add_argument("--viewers", type=int, default=20, help="companion: at the dashboard, one of them stalled")
    parser.add_argument("--window", type=int, default=8, help="vla: steps of history")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; chunk, vla: 1, uwm: 2")
    parser.add_argument("--size", type=int, default=224, help="graph, export: pixels along a side of both cameras")
    parser.add_argument("--rate", type=float, default=200.0, help="graph: commands a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="graph, bags, export: how long, or how much")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(args: argparse.Namespace) -> int:
    """Measure, and print."""
    if args.what == "chunking":
        return _chunking(args)
    if args.what == "surprise":
        return _surprise(args)
    if args.what == "uwm":
        from vla_ros.bench.uwm import bench_uwm

        result = bench_uwm(
            args.preset, device=args.device, batch=args.batch, steps=args.steps, rounds=args.rounds or 12,
            threads=args.threads or 2, dtypes=tuple(args.dtypes),
        )  # fmt: skip
    elif args.what == "vla":
        from vla_ros.bench.vla import bench_vla

        result = bench_vla(
            window=args.window, rounds=args.rounds or 12, threads=args.threads or 1, device=args.device
        )  # fmt: skip
    elif args.what == "graph":
        from vla_ros.bench.graph import bench_graph

        result = bench_graph(args.size, args.rate, args.seconds)
    elif args.what == "companion":
        from vla_ros.bench.companion import bench_companion

        result = bench_companion(args.episodes or 13, args.rounds or 3, args.viewers, args.seed)
    elif args.what == "bags":
        from vla_ros.bench.bags import bench_bags

        result = bench_bags(3, 640, 480, args.seconds)
    elif args.what == "export":
        from vla_ros.bench.export import bench_export

        result = bench_export(args.size, args.seconds)
    else:
        from vla_ros.bench.chunk import bench_chunks

        result = bench_chunks(args.model, threads=args.threads or 1, device=args.device, count=args.count)
    print(json.dumps(result) if args.json else json.dumps(result, indent=1))
    return 0


def _chunking(args: argparse.Namespace) -> int:
    from rich.progress import track

    from vla_ros.bench.chunking import Options, bench_chunking, table

    options = Options(args.episodes or 26, args.seed, tuple(args.delays), tuple(args.executions), args.threads or 1)
    report = bench_chunking(args.model, options, lambda cells: track(cells, description="modes and delays"))
    print(json.dumps(report) if args.json else table(report))
    return 0


def _surprise(args: argparse.Namespace) -> int:
    from rich.progress import track

    from vla_ros.bench.surprise import Options, bench_surprise, table

    options = Options(
        args.calibration, args.normal, args.episodes or 30, processes=args.processes, kept=args.runs
    )  # fmt: skip
    report = bench_surprise(
        args.model, options, lambda runs, count: iter(track(runs, "episodes", count, disable=args.json))
    )
    print(json.dumps(report) if args.json else table(report))
    return 0
