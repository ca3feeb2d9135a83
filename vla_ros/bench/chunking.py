"""`vla-ros bench chunking`: success and smoothness of every execution mode under injected inference delays.

The loop runs in the simulator with the robot's commander. The delay is simulated time: the commander gets a chunk
`delay` policy steps after the observation that it answers, and the next inference starts no earlier. Two streams are
measured: the commands, and the plan before tracking, since tracking within the robot's limits hides much of a bad plan.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from vla_ros.core.abilities import Policy
from vla_ros.core.errors import ContractError
from vla_ros.core.execution.commander import Commander
from vla_ros.core.execution.guard import Mode
from vla_ros.core.execution.limits import Positions
from vla_ros.core.execution.modes import EXECUTIONS, blend_of
from vla_ros.core.planning.continuation import check_can_continue, execute_steps
from vla_ros.core.planning.planner import REAL_TIME_CHUNKING, Planner
from vla_ros.core.robot import RobotSpec, load_robot
from vla_ros.core.types import NS_PER_S, ActionChunk, Observation
from vla_ros.evaluation.closed_loop import wilson
from vla_ros.evaluation.smoothness import Stream, smoothness
from vla_ros.policies.loading import find_model, load_policy
from vla_ros.sim.environment import Environment, Variant, make_environment, observe

DELAYS, LIMIT_S = (0, 1, 2, 4, 6, 8), 15.0
SETTLE_NS = 100_000_000  # longer than the guard watches joint states before arming


@dataclass(frozen=True, slots=True)
class Options:
    """What to run: `episodes`, seeds from `seed` on, for each of `executions` and `delays` [policy steps]."""

    episodes: int = 26
    seed: int = 10000
    delays: tuple[int, ...] = DELAYS
    executions: tuple[str, ...] = tuple(EXECUTIONS)
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Episode:
    """The result of an episode.

    seconds: until success, or in total [s]. idle_s: without a plan after the first one [s].
    stops: how often the guard stopped the robot, such as when the arm did not follow because it touched the table. It
        is armed again at once, and a new stretch of the streams begins.
    """

    success: bool
    seconds: float
    idle_s: float
    stops: int
    plan: tuple[Stream, ...]
    command: tuple[Stream, ...]


class Stretch:
    """What was planned and sent from the first chunk until a stop. The first chunk starts from standstill.

    arm: (D,) bool, the joints that are measured.
    """

    def __init__(self, arm: NDArray[np.bool_], control_ns: int) -> None:
        self._arm, self._control_s = arm, control_ns / NS_PER_S
        self._planned: list[Positions] = []
        self._sent: list[Positions] = []
        self._boundaries: list[int] = []

    def take_over(self) -> None:
        """Note that a new chunk is executed from the next tick on."""
        self._boundaries.append(len(self._sent))

    def add(self, due: Positions | None, command: Positions) -> None:
        """Add a tick: what the plan asks for, if anything, and what was sent. Ignored before the first chunk."""
        if self._boundaries:
            self._sent.append(command)
            self._planned.append(due if due is not None else self._planned[-1] if self._planned else command)

    @property
    def begun(self) -> bool:
        """Return whether a chunk has started."""
        return bool(self._boundaries)

    def streams(self) -> tuple[Stream, Stream]:
        """Return the streams of the plan and of the commands."""
        boundaries = tuple(self._boundaries[1:])
        rows = (np.array(of, dtype=np.float64).reshape(-1, len(self._arm)) for of in (self._planned, self._sent))
        plan, command = (Stream(positions[:, self._arm], boundaries, self._control_s) for positions in rows)
        return plan, command


class DelayedInference:
    """Chunks that arrive `delay` steps after the observation they answer; one inference at a time."""

    def __init__(self, policy: Policy, execution: str, delay: int, robot: RobotSpec) -> None:
        contract, steps = policy.contract, policy.contract.execute_steps
        if execution == REAL_TIME_CHUNKING:
            steps = execute_steps(steps, delay, contract.horizon)
        self._planner, self._delay_ns = Planner(policy, robot, execution, steps), delay * contract.step_ns
        self._step_ns = contract.step_ns
        self._coming: ActionChunk | None = None

    def is_due(self, now_ns: int) -> bool:
        """Tell whether an observation is wanted now. Cameras show one a step."""
        return self._coming is None and now_ns % self._step_ns == 0 and self._planner.is_due(now_ns)

    def begin(self, observation: Observation) -> None:
        """Infer; the chunk arrives after the delay."""
        self._coming = self._planner.plan(observation)
        self._planner.sent(self._coming, observation, observation.stamp_ns + self._delay_ns)

    def arrived(self, now_ns: int) -> ActionChunk | None:
        """Return the chunk once it has arrived, and only once."""
        if self._coming is None or now_ns < self._coming.stamp_ns + self._delay_ns:
            return None
        chunk, self._coming = self._coming, None
        return chunk


def run_delayed(
    environment: Environment, policy: Policy, robot: RobotSpec, execution: str, delay: int, seed: int
) -> Episode:
    """Run one episode until success or `LIMIT_S`."""
    trial, control_ns = environment.trial(seed, Variant()), environment.control_ns
    environment.reset(trial)
    policy.reset()
    inference = DelayedInference(policy, execution, delay, robot)
    commander, now_ns = Commander(robot, blend_of(execution)), 0
    for ago_ns in range(SETTLE_NS, -1, -control_ns):
        commander.on_state(now_ns - ago_ns, environment.joint_positions(), now_ns - ago_ns)
    refusal = commander.arm(now_ns)
    assert refusal is None, refusal
    stretches = [Stretch(~robot.is_gripper, control_ns)]
    idle, stops = 0, 0
    while now_ns < LIMIT_S * NS_PER_S and not environment.success():
        if inference.is_due(now_ns):
            inference.begin(observe(environment, policy.contract, now_ns, trial.instruction))
        chunk = inference.arrived(now_ns)
        if chunk is not None and commander.on_chunk(chunk, now_ns) is None:
            stretches[-1].take_over()
        now_ns += control_ns
        commander.on_state(now_ns, environment.joint_positions(), now_ns)
        due, verdict = commander.plan.command(now_ns), commander.tick(now_ns)
        idle += due is None and any(stretch.begun for stretch in stretches)
        if verdict.mode is Mode.FAULT:
            stops += commander.arm(now_ns) is None
            stretches.append(Stretch(~robot.is_gripper, control_ns))
        if verdict.command is not None:
            environment.act(verdict.command)
            stretches[-1].add(due, verdict.command)
        environment.step()
    plan, command = zip(*(stretch.streams() for stretch in stretches), strict=True)
    return Episode(environment.success(), now_ns / NS_PER_S, idle * control_ns / NS_PER_S, stops, plan, command)


def cell(episodes: list[Episode], window: int) -> dict[str, Any]:
    """Summarise the episodes of one mode under one delay."""
    done = sum(episode.success for episode in episodes)
    finished = [episode.seconds for episode in episodes if episode.success]
    return {
        "success_rate": round(done / len(episodes), 4),
        "confidence_95": [round(x, 4) for x in wilson(done, len(episodes))],
        "seconds_to_success_p50": round(float(np.median(finished)), 2) if finished else None,
        "idle_s": round(float(np.mean([episode.idle_s for episode in episodes])), 3),
        "stops": round(float(np.mean([episode.stops for episode in episodes])), 2),
        "plan": smoothness([stream for episode in episodes for stream in episode.plan], window),
        "command": smoothness([stream for episode in episodes for stream in episode.command], window),
    }


def bench_chunking(
    model: str, options: Options, progress: Callable[[list[Any]], Iterable[Any]] = iter
) -> dict[str, Any]:
    """Run every mode under every delay on the same seeds. Unsupported pairs are `refused`, with the reason."""
    policy = load_policy(model, threads=options.threads)
    step_ns = policy.contract.step_ns
    robot = load_robot("ur5e_tabletop")
    # Relax the guard: it would refuse the late plans that are to be measured.
    patience_s = (policy.contract.horizon + max(options.delays)) * step_ns / NS_PER_S
    robot = replace(robot, guard=replace(robot.guard, plan_timeout_s=patience_s, max_jump=np.pi))
    environment, rows = make_environment("tabletop"), []
    try:
        for execution, delay in progress([(mode, delay) for mode in options.executions for delay in options.delays]):
            found: dict[str, Any] = {"execution": execution, "delay_steps": delay}
            try:
                if execution == REAL_TIME_CHUNKING:
                    check_can_continue(policy, model)
                seeds = range(options.seed, options.seed + options.episodes)
                episodes = [run_delayed(environment, policy, robot, execution, delay, seed) for seed in seeds]
                rows.append(found | cell(episodes, step_ns // environment.control_ns))
            except ContractError as error:
                rows.append(found | {"refused": str(error)})
    finally:
        environment.close()
    conditions = {"episodes": options.episodes, "seed": options.seed, "step_s": step_ns / NS_PER_S}
    return {"model": find_model(model).name, **conditions, "rows": rows}


def table(report: dict[str, Any]) -> str:
    """Format the report as text. Jerk ratios are mean at the boundary over mean within a chunk."""
    head = f"{'execution':<22}{'delay':>6}{'success':>9}{'seconds':>9}{'idle s':>8}{'stops':>7}"
    head += "".join(f"{name:>15}" for name in ("plan jerk", "ratio", "command jerk", "ratio"))
    lines = [f"{report['model']}, {report['episodes']} episodes a row, steps of {report['step_s']} s", head]
    for row in report["rows"]:
        start = f"{row['execution']:<22}{row['delay_steps']:>6}"
        if "refused" in row:
            lines.append(f"{start}  refused: {row['refused']}")
            continue
        seconds = "-" if row["seconds_to_success_p50"] is None else f"{row['seconds_to_success_p50']:.2f}"
        start += f"{row['success_rate']:>9.1%}{seconds:>9}{row['idle_s']:>8.2f}{row['stops']:>7.2f}"
        for stream in ("plan", "command"):
            boundary = row[stream]["jerk"]["boundary"]
            start += f"{'-' if boundary is None else boundary['mean']:>15}{row[stream]['jerk_ratio'] or '-':>15}"
        lines.append(start)
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vla-ros bench chunking`."""
    parser.add_argument("model", nargs="?", default="uwm_tabletop", help="a model folder, or its name in models/")
    parser.add_argument("--episodes", type=int, default=26, help="of each mode and delay")
    parser.add_argument("--seed", type=int, default=10000, help="of the first episode")
    parser.add_argument("--delays", type=int, nargs="+", default=list(DELAYS), help="in policy steps")
    parser.add_argument("--executions", nargs="+", choices=list(EXECUTIONS), default=list(EXECUTIONS))
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark; return the report."""
    options = Options(args.episodes, args.seed, tuple(args.delays), tuple(args.executions), args.threads)
    return bench_chunking(args.model, options, lambda cells: track(cells, description="modes and delays"))
