"""`vla-ros bench chunk`: time per chunk, alternately alone and while the simulator runs and renders."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from typing import Any

import numpy as np

from vla_ros.core.contract import PolicyContract
from vla_ros.core.types import Observation
from vla_ros.policies.loading import load_policy
from vla_ros.sim.tabletop.world import Tabletop

RENDER_HZ = 10
ROUNDS = 4
SENTENCE = "push the red block to the left"


def simulate(stop: Any, ready: Any) -> None:
    """Run the simulator in real time with both policy cameras until `stop` is set, in a separate process."""
    tabletop = Tabletop()
    next_frame = time.monotonic()
    while not stop.is_set():
        tabletop.advance(1 / RENDER_HZ)
        for camera in ("front", "wrist"):
            tabletop.render(camera, 64, 64)
        ready.set()
        next_frame += 1 / RENDER_HZ
        time.sleep(max(0.0, next_frame - time.monotonic()))
    tabletop.close()


def sample_observation(contract: PolicyContract) -> Observation:
    """Return an observation of the right shapes; its content does not affect the timing."""
    rng = np.random.default_rng(0)
    images = {
        c.name: rng.integers(0, 255, (contract.history, c.height, c.width, 3), dtype=np.uint8) for c in contract.cameras
    }
    return Observation(0, images, np.zeros((contract.history, len(contract.joints)), dtype=np.float32), SENTENCE)


def time_chunks(policy: Any, count: int) -> list[float]:
    """Return the durations of `count` chunks [ms]."""
    observation, durations = sample_observation(policy.contract), []
    for _ in range(count):
        started = time.perf_counter()
        policy.infer(observation)
        durations.append((time.perf_counter() - started) * 1e3)
    return durations


def bench_chunks(model: str, *, threads: int, device: str, count: int) -> dict[str, float | int | str]:
    """Alternate rounds alone and beside the simulator; return p50 and p99 of each [ms] and the ratio of medians."""
    policy = load_policy(model, threads=threads, device=device)
    time_chunks(policy, 5)  # warm-up
    context = multiprocessing.get_context("spawn")
    alone: list[float] = []
    beside: list[float] = []
    for _ in range(ROUNDS):
        alone += time_chunks(policy, count // ROUNDS)
        stop, ready = context.Event(), context.Event()
        simulator = context.Process(target=simulate, args=(stop, ready))
        simulator.start()
        ready.wait(30)
        beside += time_chunks(policy, count // ROUNDS)
        stop.set()
        simulator.join()
    result: dict[str, float | int | str] = {"chunks": len(alone), "threads": threads, "device": device}
    for name, values in (("alone", alone), ("beside_simulator", beside)):
        result[f"{name}_ms_p50"] = round(float(np.percentile(values, 50)), 2)
        result[f"{name}_ms_p99"] = round(float(np.percentile(values, 99)), 2)
    result["ratio_p50"] = round(float(np.median(beside) / np.median(alone)), 3)
    return result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vla-ros bench chunk`."""
    parser.add_argument("model", nargs="?", default="uwm_tabletop", help="a model folder, or its name in models/")
    parser.add_argument("--count", type=int, default=200, help="chunks to time in each condition")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu")


def run(args: argparse.Namespace) -> dict[str, float | int | str]:
    """Run the benchmark; return the report."""
    return bench_chunks(args.model, threads=args.threads, device=args.device, count=args.count)
