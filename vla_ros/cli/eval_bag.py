"""`vla-ros eval bag BAG`: the options and the output; the work is in `vla_ros.bags.eval`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this form."""
    parser.add_argument("bag", type=Path, help="a rosbag2 bag, as `vla-ros record` writes it")
    parser.add_argument("--policy", metavar="MODEL", help="the model folder, or its name in models/")
    parser.add_argument(
        "--robot", default="ur5e_tabletop", help="robot contract: a YAML file, or a name in config/robots"
    )
    parser.add_argument("--delay-ms", type=float, help="stamp to plan; the recorded delay by default")
    parser.add_argument(
        "--execution",
        default="receding_horizon",
        help="as the policy node's; real_time_chunking continues the recorded chunks",
    )
    parser.add_argument("--execute-steps", type=int, default=0, help="actions to execute of each chunk")
    parser.add_argument("--chunk-topic", default="/action_chunk", help="where the recorded chunks are")
    parser.add_argument("--worst", type=int, default=5, help="how many of the worst moments to name")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write pictures of the worst moments")
    parser.add_argument("--sim-time", action="store_true", help="the nodes lived by /clock, which is on the bag")
    parser.add_argument(
        "--fail-above",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="exit with 1 if a figure, such as chunks.mae or commands.max_error, is above; repeatable",
    )
    parser.set_defaults(measure=run)


def run(args: argparse.Namespace) -> int:
    """Plan on the bag, and say how close it came."""
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
