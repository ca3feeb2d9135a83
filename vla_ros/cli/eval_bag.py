"""`vla-ros eval bag BAG`: the options and the output; the work is in `vla_ros.bags.eval`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

BAG: dict[str, Any] = {
    "policy": None, "robot": "ur5e_tabletop", "delay_ms": None, "execution": "receding_horizon", "worst": 5,
    "chunk_topic": "/action_chunk", "fail_above": [], "sim_time": False,
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this form alone."""
    group = parser.add_argument_group("bag (also --pictures, --execute-steps)")
    group.add_argument("--policy", metavar="MODEL", help="the model folder, or its name in models/")
    group.add_argument("--robot", help="robot contract: a YAML file, or a name in config/robots")
    group.add_argument("--delay-ms", type=float, help="stamp to plan; the recorded delay by default")
    group.add_argument("--execution", help="as the policy node's; real_time_chunking continues the recorded chunks")
    group.add_argument("--chunk-topic", help="where the recorded chunks are")
    group.add_argument("--worst", type=int, help="how many of the worst moments to name")
    group.add_argument("--sim-time", action="store_true", help="the nodes lived by /clock, which is on the bag")
    group.add_argument(
        "--fail-above", action="append", metavar="NAME=NUMBER",
        help="exit with 1 where a figure, such as chunks.mae or commands.max_error, is above; repeatable",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Plan on the bag, and say how close it came."""
    from vla_ros.bags.comparison import exceeded, parse_threshold
    from vla_ros.bags.eval import EvalOptions, eval_bag
    from vla_ros.core.errors import ConfigError
    from vla_ros.core.robot import load_robot
    from vla_ros.policies.loading import check_contract, load_policy

    if args.policy is None:
        raise ConfigError("--policy is missing; give a model folder, such as models/uwm_tabletop")
    thresholds = [parse_threshold(text) for text in args.fail_above]
    robot = load_robot(args.robot)
    policy = load_policy(args.policy, threads=args.threads, device=args.device)
    check_contract(policy.contract, robot)
    options = EvalOptions(
        delay_ms=args.delay_ms, execution=args.execution, execute_steps=args.execute_steps or 0, worst=args.worst,
        chunk_topic=args.chunk_topic, pictures=args.pictures, sim_time=args.sim_time,
    )  # fmt: skip
    figures = eval_bag(Path(args.model), robot, policy, options)
    print(json.dumps(figures) if args.json else json.dumps(figures, indent=1))
    failed = exceeded(figures, thresholds)
    for line in failed:
        print(f"vla-ros eval bag: {line}", file=sys.stderr)
    return 1 if failed else 0
