"""`vla-ros bench`: how fast a model is on this machine.

vla-ros bench chunk MODEL         time per chunk, alone and beside the simulator
vla-ros bench uwm --preset NAME   the plain sampler against the fast one, in turn, with random weights
vla-ros bench chunking MODEL      every execution mode under injected inference delays: success and smoothness
vla-ros bench graph --size 224    camera to command through the ROS graph, stage by stage, and the commander's period
vla-ros bench bags                how many pictures of three raw 640x480 cameras at 30 Hz the recorder loses
vla-ros bench export --size 224   how many times faster than real time a bag becomes a dataset
"""

from __future__ import annotations

import argparse
import json

from vla_ros.core.execution import EXECUTIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", choices=["chunk", "chunking", "uwm", "graph", "bags", "export"])
    parser.add_argument(
        "model", nargs="?", default="uwm_tabletop", help="chunk, chunking: a model folder, or a name in models/"
    )
    parser.add_argument("--count", type=int, default=200, help="chunk: how many to time in each condition")
    parser.add_argument("--episodes", type=int, default=26, help="chunking: episodes of each mode and delay")
    parser.add_argument("--seed", type=int, default=10000, help="chunking: seed of the first episode")
    parser.add_argument("--delays", type=int, nargs="+", default=[0, 1, 2, 4, 6, 8], help="chunking: in policy steps")
    parser.add_argument("--executions", nargs="+", choices=list(EXECUTIONS), default=list(EXECUTIONS))
    parser.add_argument("--preset", default="libero", help="uwm: tabletop, libero or droid")
    parser.add_argument("--batch", type=int, default=1, help="uwm: rows of a chunk")
    parser.add_argument("--steps", type=int, default=10, help="uwm: steps of DDIM")
    parser.add_argument("--rounds", type=int, default=12, help="uwm: how often each is timed")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; chunk: 1, uwm: 2")
    parser.add_argument("--size", type=int, default=224, help="graph, export: pixels along a side of both cameras")
    parser.add_argument("--rate", type=float, default=200.0, help="graph: commands a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="graph, bags, export: how long, or how much")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(args: argparse.Namespace) -> int:
    """Measure, and print."""
    if args.what == "chunking":
        return _chunking(args)
    if args.what == "uwm":
        from vla_ros.training.bench_uwm import bench_uwm

        result = bench_uwm(
            args.preset, device=args.device, batch=args.batch, steps=args.steps, rounds=args.rounds,
            threads=args.threads or 2, dtypes=tuple(args.dtypes),
        )  # fmt: skip
    elif args.what == "graph":
        from vla_ros.cli.bench_graph import bench_graph

        result = bench_graph(args.size, args.rate, args.seconds)
    elif args.what == "bags":
        from vla_ros.cli.bench_bags import bench_bags

        result = bench_bags(3, 640, 480, args.seconds)
    elif args.what == "export":
        from vla_ros.training.bench_export import bench_export

        result = bench_export(args.size, args.seconds)
    else:
        from vla_ros.training.bench import bench_chunks

        result = bench_chunks(args.model, threads=args.threads or 1, device=args.device, count=args.count)
    print(json.dumps(result) if args.json else json.dumps(result, indent=1))
    return 0


def _chunking(args: argparse.Namespace) -> int:
    from rich.progress import track

    from vla_ros.training.bench_chunking import Options, bench_chunking, table

    options = Options(args.episodes, args.seed, tuple(args.delays), tuple(args.executions), args.threads or 1)
    report = bench_chunking(args.model, options, lambda cells: track(cells, description="modes and delays"))
    print(json.dumps(report) if args.json else table(report))
    return 0
