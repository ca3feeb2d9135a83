"""`vla-ros eval`: measure a model, in the simulator without ROS or on a bag.

`vla-ros eval MODEL` runs closed-loop episodes and prints the success rate. `vla-ros eval modes MODEL` measures every
mode of a world model on held-out episodes: forward dynamics and video against copying the current frame, inverse
dynamics against the policy. `vla-ros eval bag BAG --policy MODEL` plans from the observations in a bag, and compares
the plans with the recorded chunks and commands. `vla-ros eval questions MODEL` asks a vision-language model about
unseen scenes, and whether a task is done.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from vla_ros.cli import eval_bag

HAS_SUBCOMMANDS = True
DEFAULT = "episodes"  # the form of `vla-ros eval MODEL`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare one sub-parser for each form."""
    forms = parser.add_subparsers(dest="form", metavar="FORM", required=True)
    _add_episodes(forms.add_parser(DEFAULT, help="run closed-loop episodes; the default"))
    _add_modes(forms.add_parser("modes", help="measure every mode of a world model on held-out episodes"))
    bag = forms.add_parser("bag", help="plan from the observations in a bag and compare with what was recorded")
    eval_bag.add_arguments(bag)
    questions = forms.add_parser("questions", help="ask a vision-language model about unseen scenes")
    _add_simulator(questions, episodes=60)
    questions.set_defaults(measure=run_questions)
    for form in forms.choices.values():
        form.add_argument("--threads", type=int, default=1, help="CPU threads for the network")
        form.add_argument("--device", default="cpu")
        form.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def complete(words: Sequence[str]) -> Sequence[str]:
    """Insert the default form: `MODEL ...` means `episodes MODEL ...`."""
    named = words and words[0] in (DEFAULT, "modes", "bag", "questions", "-h", "--help")
    return words if named or not words else [DEFAULT, *words]


def _add_simulator(parser: argparse.ArgumentParser, episodes: int) -> None:
    parser.add_argument("model", help="a model folder, or its name in models/")
    parser.add_argument("--episodes", type=int, default=episodes, help=f"default {episodes}")
    parser.add_argument("--seed", type=int, default=10000, help="the first episode's seed; training used 0 to 9999")


def _add_episodes(parser: argparse.ArgumentParser) -> None:
    _add_simulator(parser, episodes=120)
    parser.add_argument("--held-out", action="store_true", help="use wordings that are not in the training data")
    parser.add_argument("--execute-steps", type=int, help="actions of each chunk to execute")
    parser.add_argument(
        "--environment", metavar="NAME", default="tabletop", help="environment: tabletop, or one from a plugin"
    )
    parser.add_argument("--time-limit", type=float, default=12.0, help="longest time per episode [s]")
    parser.add_argument(
        "--wrong-colour",
        action="store_true",
        help="name a different block: a policy that follows language should fail the task",
    )
    parser.add_argument(
        "--marked", action="store_true", help="mark the block to reach for a moment instead of naming it: needs memory"
    )
    parser.add_argument("--card", action="store_true", help="write the model card (README.md) with these figures")
    parser.set_defaults(measure=run_closed_loop)


def _add_modes(parser: argparse.ArgumentParser) -> None:
    _add_simulator(parser, episodes=60)
    parser.add_argument("--held-out", action="store_true", help="use wordings that are not in the training data")
    parser.add_argument("--windows", type=int, default=512, help="number of windows to evaluate")
    parser.add_argument("--steps", type=int, help="sampling steps (default: the model's)")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write images of predicted and true frames")
    parser.add_argument(
        "--compare", action="append", default=[], metavar="NAME=FOLDER", help="a model to compare; repeatable"
    )
    parser.add_argument(
        "--compare-episodes", type=int, default=0, metavar="N", help="also run N closed-loop episodes of each model"
    )
    parser.set_defaults(measure=run_modes)


def run(args: argparse.Namespace) -> int:
    """Evaluate, and print a table or JSON."""
    return int(args.measure(args))


def run_modes(args: argparse.Namespace) -> int:
    """Measure the modes."""
    from vla_ros.evaluation.modes import ModesOptions, measure_modes
    from vla_ros.evaluation.modes_table import table

    names = ModesOptions.__dataclass_fields__
    figures = measure_modes(args.model, ModesOptions(**{name: getattr(args, name) for name in names}))
    print(json.dumps(figures) if args.json else table(figures))
    return 0


def run_questions(args: argparse.Namespace) -> int:
    """Measure answers."""
    from rich.progress import track

    from vla_ros.evaluation.questions import measure_questions
    from vla_ros.policies.loading import load_speaker

    model = load_speaker(Path(args.model), threads=args.threads, device=args.device)
    figures = measure_questions(
        model,
        episodes=args.episodes,
        seed=args.seed,
        progress=lambda seeds: iter(track(seeds, description="episodes")),
    )
    print(json.dumps(figures, indent=None if args.json else 1))
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
            policy,
            environment,
            episodes=args.episodes,
            seed=args.seed,
            limit_s=args.time_limit,
            variant=Variant(held_out=args.held_out, wrong_colour=args.wrong_colour, marked=args.marked),
            execute_steps=args.execute_steps,
            progress=lambda seeds: iter(track(seeds, description="episodes")),
        )
    finally:
        environment.close()
    asked = {"seed": args.seed, "held_out_wordings": args.held_out, "wrong_colour": args.wrong_colour}
    asked |= {"marked": True} if args.marked else {}
    summary = {**summarise(results), **asked}
    if args.card:
        write_card(find_model(args.model), summary)
    print(json.dumps(summary, indent=None if args.json else 1))
    return 0
