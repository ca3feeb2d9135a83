"""`vla-ros eval`: measure a model, in the simulator without ROS or on a bag.

`vla-ros eval MODEL` drives episodes closed loop and prints its success. `vla-ros eval modes MODEL` asks it every
question of a world model about held-out episodes, and prints how close its answers come: forward dynamics and video
against copying the current frame, inverse dynamics against the policy. `vla-ros eval bag BAG --policy MODEL` lets it
plan from a bag's observations, and compares its plans with the recorded chunks and commands. `vla-ros eval questions
MODEL` asks a vision-language model about scenes it never saw, and lets it judge whether a task is done.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from vla_ros.cli import eval_bag

# Options of one form only, and their defaults.
CLOSED_LOOP = {
    "episodes": None, "seed": 10000, "held_out": False, "execute_steps": None, "time_limit": 12.0, "card": False,
    "wrong_colour": False, "marked": False, "environment": "tabletop",
}  # fmt: skip
MODES: dict[str, Any] = {"windows": 512, "steps": None, "pictures": None, "compare": [], "compare_episodes": 0}
EPISODES = {None: 120, "modes": 60, "questions": 60}
# Options of other forms that this one has, too.
SHARED = {
    "bag": ("pictures", "execute_steps"), "modes": ("episodes", "seed", "held_out"), "questions": ("episodes", "seed"),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "form", nargs="?", choices=["modes", "bag", "questions"], metavar="modes|bag|questions", help="what to measure"
    )
    parser.add_argument("model", help="a model folder, or its name in models/; of bag, the bag")
    parser.add_argument("--episodes", type=int, help="default 120; of modes and questions 60")
    parser.add_argument("--seed", type=int, default=10000, help="the first episode's seed; training used 0 to 9999")
    parser.add_argument("--held-out", action="store_true", help="use the wordings that training never saw")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for the network")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    eval_bag.add_arguments(parser)
    parser.set_defaults(**CLOSED_LOOP, **MODES, **eval_bag.BAG)
    closed = parser.add_argument_group("closed loop")
    closed.add_argument("--execute-steps", type=int, help="actions to execute of each chunk")
    closed.add_argument("--environment", metavar="NAME", help="where episodes run: tabletop, or one of a plugin")
    closed.add_argument("--time-limit", type=float, help="seconds an episode may take")
    closed.add_argument(
        "--wrong-colour",
        action="store_true",
        help="name another block than the task's: a policy that follows language fails at the task",
    )
    closed.add_argument(
        "--marked", action="store_true", help="the block to reach is shown for a moment, not told: needs a memory"
    )
    closed.add_argument("--card", action="store_true", help="write the model card (README.md) with these figures")
    modes = parser.add_argument_group("modes")
    modes.add_argument("--windows", type=int, help="how many windows of the episodes to ask about")
    modes.add_argument("--steps", type=int, help="sampling steps; the model's own by default")
    modes.add_argument("--pictures", type=Path, metavar="DIR", help="write pictures of predicted and true frames")
    modes.add_argument("--compare", action="append", metavar="NAME=FOLDER", help="a model to compare; repeatable")
    modes.add_argument("--compare-episodes", type=int, metavar="N", help="closed-loop episodes of each model, too")


def run(args: argparse.Namespace) -> int:
    """Evaluate, and print a table or JSON."""
    from vla_ros.core.errors import ConfigError

    forms = {None: CLOSED_LOOP, "modes": MODES, "bag": eval_bag.BAG, "questions": {}}
    own = {*forms[args.form], *SHARED.get(args.form, ())}
    foreign = {n: default for options in forms.values() for n, default in options.items() if n not in own}
    if given := [name for name, default in foreign.items() if getattr(args, name) != default]:
        words = ", ".join("--" + name.replace("_", "-") for name in given)
        raise ConfigError(f"{words}: not for 'vla-ros eval {args.form or 'MODEL'}'; see 'vla-ros eval --help'")
    if args.form == "bag":
        return eval_bag.run(args)
    args.episodes = EPISODES[args.form] if args.episodes is None else args.episodes
    if args.form == "questions":
        return run_questions(args)
    return run_modes(args) if args.form == "modes" else run_closed_loop(args)


def run_modes(args: argparse.Namespace) -> int:
    """Measure the modes."""
    from vla_ros.evaluation.modes import Options, measure_modes
    from vla_ros.evaluation.modes_table import table

    options = Options(
        episodes=args.episodes, seed=args.seed, held_out=args.held_out, threads=args.threads, device=args.device,
        **{name: getattr(args, name) for name in MODES},
    )  # fmt: skip
    figures = measure_modes(args.model, options)
    print(json.dumps(figures) if args.json else table(figures))
    return 0


def run_questions(args: argparse.Namespace) -> int:
    """Measure answers."""
    from rich.progress import track

    from vla_ros.evaluation.questions import measure_questions
    from vla_ros.policies.loading import load_speaker

    model = load_speaker(Path(args.model), threads=args.threads, device=args.device)
    figures = measure_questions(
        model, episodes=args.episodes, seed=args.seed,
        progress=lambda seeds: iter(track(seeds, description="episodes")),
    )  # fmt: skip
    print(json.dumps(figures) if args.json else json.dumps(figures, indent=1))
    return 0


def run_closed_loop(args: argparse.Namespace) -> int:
    """Measure success."""
    from rich.progress import track

    from vla_ros.evaluation.closed_loop import evaluate, summarise
    from vla_ros.evaluation.model_card import write_card
    from vla_ros.policies.loading import find_model, load_policy
    from vla_ros.sim.environment import Variant, make_environment

    policy = load_policy(Path(args.model), threads=args.threads, device=args.device)
    environment = make_environment(args.environment)
    try:
        results = evaluate(
            policy, environment, episodes=args.episodes, seed=args.seed, limit_s=args.time_limit,
            variant=Variant(held_out=args.held_out, wrong_colour=args.wrong_colour, marked=args.marked),
            execute_steps=args.execute_steps, progress=lambda seeds: iter(track(seeds, description="episodes")),
        )  # fmt: skip
    finally:
        environment.close()
    asked = {"seed": args.seed, "held_out_wordings": args.held_out, "wrong_colour": args.wrong_colour}
    asked |= {"marked": True} if args.marked else {}
    summary = {**summarise(results), **asked}
    if args.card:
        write_card(find_model(args.model), summary)
    print(json.dumps(summary) if args.json else json.dumps(summary, indent=1))
    return 0
