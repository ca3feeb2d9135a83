"""`vla-ros bench export`: how much faster than real time a bag becomes a dataset."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from vla_ros.bags.demonstration_bag import Demonstration, write_demonstrations
from vla_ros.bags.episodes.assembly import EpisodeOptions
from vla_ros.core.robot import load_robot
from vla_ros.datasets.expert import CAMERAS, STEP_NS, run_step
from vla_ros.datasets.export import export
from vla_ros.sim.tabletop.expert import plan
from vla_ros.sim.tabletop.tasks import TASKS, wordings
from vla_ros.sim.tabletop.world import Tabletop

FRAMES = 30  # of one episode


def bench_export(size: int, seconds: float) -> dict[str, object]:
    """Export a bag of the simulated expert: `seconds` long, two cameras of size x size at 10 Hz."""
    robot = load_robot("ur5e_tabletop")
    robot = replace(robot, cameras=tuple(replace(camera, width=size, height=size) for camera in robot.cameras))
    count = max(1, round(seconds / (FRAMES * STEP_NS / 1e9)))
    episodes = [_episode(task, size) for task in list(TASKS)[: min(count, len(TASKS))]]
    with tempfile.TemporaryDirectory() as name:
        bag = Path(name) / "bag"
        write_demonstrations(bag, robot, (episodes[k % len(episodes)] for k in range(count)), STEP_NS)
        figures, report = export([bag], robot, EpisodeOptions(), "lerobot", Path(name) / "set")
    return {
        "cameras": f"{len(CAMERAS)} of {size}x{size} at {1e9 / STEP_NS:g} Hz",
        **figures,
        "bag_s": round(report.bag_s, 1),
        "work_s": round(report.work_s, 2),
        "times_real_time": round(report.bag_s / report.work_s, 1),
    }


def _episode(name: str, size: int) -> Demonstration:
    tabletop, task = Tabletop(), TASKS[name]
    tabletop.reset(0, name)
    images: dict[str, list[np.ndarray]] = {camera: [] for camera in CAMERAS}
    states, executed, plans = [], [], []
    command = tabletop.joint_positions()
    for _ in range(FRAMES):
        for camera in CAMERAS:
            images[camera].append(tabletop.render(camera, size, size))
        states.append(tabletop.joint_positions())
        plans.append(plan(tabletop.state(), task))
        executed.append(plans[-1][0].astype(np.float64))
        run_step(tabletop, command, executed[-1])
        command = executed[-1]
    tabletop.close()
    stacked = {camera: np.stack(frames) for camera, frames in images.items()}
    return Demonstration(wordings(task)[0], stacked, np.stack(states), np.stack(executed), np.stack(plans))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vla-ros bench export`."""
    parser.add_argument("--size", type=int, default=224, help="pixels along a side of both cameras")
    parser.add_argument("--seconds", type=float, default=20.0, help="how much to export")


def run(args: argparse.Namespace) -> dict[str, object]:
    """Run the benchmark; return the report."""
    return bench_export(args.size, args.seconds)
