"""`vla-ros eval bag BAG`: options and output. `vla_ros.bags.eval` does the work."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this form."""
    parser.add_argument("bag", type=Path, help="a rosbag2 bag recorded by `vla-ros record`")
    parser.add_argument("--policy", metavar="MODEL", help="the model folder, or its name in models/")
    parser.add_argument(
        "--robot", default="ur5e_tabletop", help="robot contract: a YAML file, or a name in config/robots"
    )
    parser.add_argument("--delay-ms", type=float, help="delay from observation to plan (default: as recorded)")
    parser.add_argument(
        "--execution",
        default="receding_horizon",
        help="as in the policy node; real_time_chunking continues the recorded chunks",
    )
    parser.add_argument("--execute-steps", type=int, default=0, help="actions of each chunk to execute")
    parser.add_argument("--chunk-topic", default="/action_chunk", help="topic of the recorded chunks")
    parser.add_argument("--worst", type=int, default=5, help="how many of the worst moments to list")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write images of the worst moments")
    parser.add_argument(
        "--sim-time", action="store_true", help="the nodes used simulated time; take it from /clock in the bag"
    )
    parser.add_argument(
        "--fail-above",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="exit with 1 if a figure such as chunks.mae or commands.max_error exceeds this; repeatable",
    )
    parser.set_defaults(measure=run)


def run(args: argparse.Namespace) -> int:
    """Plan on the bag, and print the errors."""
    from vla_ros.bags.eval import EvalOptions, eval_bag
    from vla_ros.bags.plan_errors import exceeded, parse_threshold
    from vla_ros.core.errors import ConfigError
    from vla_ros.core.robot import load_robot
    from vla_ros.policies.loading import check_contract, load_policy

    if args.policy is None:
        raise ConfigError("--policy is missing; give a model folder, such as models/uwm_tabletop")
    thresholds = [parse_threshold(text) for text in args.fail_above]
    robot = load_robot(args.robot)
    policy = load_policy(args.policy, threads=args.threads, device=args.device)
    check_contract(policy.contract, robot)
    options = EvalOptions(**{name: getattr(args, name) for name in EvalOptions.__dataclass_fields__})
    figures = eval_bag(args.bag, robot, policy, options)
    print(json.dumps(figures, indent=None if args.json else 1))
    failed = exceeded(figures, thresholds)
    for line in failed:
        print(f"vla-ros eval bag: {line}", file=sys.stderr)
    return 1 if failed else 0
