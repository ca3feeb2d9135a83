"""`vla-ros eval bag`: a policy on a bag's observations, compared with the recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vla_ros.bags.contract_topics import by_contract
from vla_ros.bags.episodes.commanded import CHUNK_TOPIC
from vla_ros.bags.episodes.recorded_plans import read_plans
from vla_ros.bags.inputs import check_inputs, check_kinds, output_kinds, timed
from vla_ros.bags.open_loop import OpenLoop, OpenLoopPlan
from vla_ros.bags.plan_errors import PlanComparison
from vla_ros.bags.reading.reader import open_bag
from vla_ros.core.errors import ConfigError
from vla_ros.core.robot import RobotSpec
from vla_ros.core.streams.synchroniser import Synchroniser
from vla_ros.ros.ingest import Ingest

TIMING_TOPIC = "/policy/timing"


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """How to evaluate a policy on a bag.

    delay_ms: from stamp to plan; None takes the recorded delay. pictures: folder for the frames of the worst moments.
    sim_time: nodes used the time on /clock.
    """

    delay_ms: float | None = None
    execution: str = "receding_horizon"
    execute_steps: int = 0
    chunk_topic: str = CHUNK_TOPIC
    worst: int = 5
    pictures: Path | None = None
    sim_time: bool = False


def eval_bag(path: Path, robot: RobotSpec, policy: Any, options: EvalOptions) -> dict[str, Any]:
    """Ask `policy` about the bag's observations; return figures. ConfigError if none could be planned from."""
    cameras = tuple(camera.name for camera in policy.contract.cameras)
    sources = Ingest(robot, Synchroniser(robot, cameras=cameras), cameras).sources
    inputs = tuple(source.topic for source in sources)
    with open_bag(path) as recorded:
        bag = by_contract(recorded, robot)
        check_inputs(bag, robot, sources)
        check_kinds(bag, output_kinds(robot, options.chunk_topic))
        said = (options.chunk_topic, TIMING_TOPIC, *(spec.topic for spec, _ in robot.outputs))
        plans = read_plans(timed(bag, said, options.sim_time), robot, options.chunk_topic, TIMING_TOPIC)
        delay_ns = None if options.delay_ms is None else round(options.delay_ms * 1e6)
        loop = OpenLoop(robot, policy, plans, delay_ns, options.execution, options.execute_steps)
        comparison = PlanComparison(robot, plans, options.worst)
        for answer in loop.answers(timed(bag, inputs, options.sim_time)):
            comparison.add(answer)
        start_ns = bag.start_ns
    if not comparison.plans:
        raise ConfigError(f"{path}: no observation could be planned from; `vla-ros bag info` shows what the bag holds")
    figures = comparison.figures(start_ns) | {
        "bag": str(path),
        "recorded_chunks": len(plans.chunks),
        "chunks_without_observation": loop.missed,
        "observations_refused": loop.refused,
        "delay": "recorded" if delay_ns is None and plans.chunks else "chosen",
    }
    if options.pictures is not None:
        for entry, (error, answer) in zip(figures["worst"], comparison.worst, strict=True):
            entry["picture"] = str(draw(answer, error, options.pictures))
    return figures


def draw(answer: OpenLoopPlan, error: float, folder: Path) -> Path:
    """Write the newest frames of all cameras side by side, with the instruction and the plan's largest error."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = [Image.fromarray(np.ascontiguousarray(images[-1])) for images in answer.observation.images.values()]
    frames = [frame.resize((max(1, round(frame.width * 256 / frame.height)), 256)) for frame in frames]
    sheet = Image.new("RGB", (sum(frame.width for frame in frames), 256 + 32))
    left = 0
    for frame in frames:
        sheet.paste(frame, (left, 32))
        left += frame.width
    words = f"{answer.observation.instruction}\nlargest error {error:.4g}, stamp {answer.observation.stamp_ns}"
    ImageDraw.Draw(sheet).multiline_text((4, 2), words, fill="white")
    path = folder / f"worst_{answer.observation.stamp_ns}.png"
    sheet.save(path)
    return path
