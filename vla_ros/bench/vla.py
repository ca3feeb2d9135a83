"""`vla-ros bench vla`: a policy head over a history, with and without cached features of past steps."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_ros.bench.chunk import sample_observation
from vla_ros.bench.random_vla import write_random_vla
from vla_ros.core.robot import load_robot
from vla_ros.networks.vla.backbone import Prompt
from vla_ros.networks.vla.formulations import ContinuousVLA, VLAStream
from vla_ros.networks.vla.policy_head import Actions
from vla_ros.policies.backbones.prompts import one_behind_another
from vla_ros.policies.loading import load_as
from vla_ros.policies.vla import VLAPolicy


def random_policy(window: int, threads: int, device: str) -> VLAPolicy:
    """Return a policy of the tabletop's sizes with random weights; timing does not depend on them."""
    with tempfile.TemporaryDirectory() as folder:
        write_random_vla(load_robot("ur5e_tabletop"), Path(folder) / "model", "policy_head", window=window)
        return load_as(Path(folder) / "model", VLAPolicy, threads=threads, device=device)


def milliseconds(work: Callable[[], Any], device: str) -> float:
    """Return the duration of one call [ms]."""
    started = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return (time.perf_counter() - started) * 1e3


def bench_vla(*, window: int, rounds: int, threads: int, device: str) -> dict[str, Any]:
    """Return the time per chunk [ms] of both, the ratio of medians, and the largest difference of their answers."""
    policy = random_policy(window, threads, device)
    model = policy.model
    assert isinstance(model, ContinuousVLA)  # for mypy: set above
    prompts = histories(policy, window)
    stream = VLAStream(model)
    for prompt in prompts:
        kept = stream.push(prompt)

    @torch.no_grad()
    def plain() -> Actions:
        newest: Actions = model(one_behind_another(prompts), window).newest()
        return newest

    difference = float((plain().pose - kept.pose).abs().max())
    times: dict[str, list[float]] = {"plain": [], "reuse": []}
    for step in range(rounds):
        times["plain"].append(milliseconds(plain, device))
        newest = prompts[step % window]
        times["reuse"].append(milliseconds(lambda newest=newest: stream.push(newest), device))  # type: ignore[misc]
    figures = {
        f"{name}_ms_p{q}": round(float(np.percentile(values, q)), 2) for name, values in times.items() for q in (50, 99)
    }
    ratio = round(float(np.median(times["plain"]) / np.median(times["reuse"])), 2)
    return {
        "window": window,
        "rounds": rounds,
        "threads": threads,
        "device": device,
        **figures,
        "ratio_p50": ratio,
        "largest_difference": float(f"{difference:.2g}"),
    }


def histories(policy: VLAPolicy, window: int) -> list[Prompt]:
    """Return a prompt for each step of a window, with different images."""
    observation, prompts = sample_observation(policy.contract), []
    for step in range(window):
        images = {name: np.roll(frames, step, axis=1) for name, frames in observation.images.items()}
        prompts.append(policy.prompt(replace(observation, images=images)))
    return prompts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vla-ros bench vla`."""
    parser.add_argument("--window", type=int, default=8, help="steps of history")
    parser.add_argument("--rounds", type=int, default=12, help="how often each is timed")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark; return the report."""
    return bench_vla(window=args.window, rounds=args.rounds, threads=args.threads, device=args.device)
