"""`vla-ros bench uwm`: the plain sampler against the fast one, and against what the device could do."""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.networks.uwm.config import PRESETS, Modality, UWMConfig
from vla_ros.networks.uwm.fast_sampler import FastSampler
from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.networks.uwm.question import Noise, Question, Sampling

POLICY: tuple[Modality, ...] = ("action",)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Work:
    """The work for one chunk: floating-point operations, and bytes of weights to read."""

    flop: int
    bytes: int


def random_model(config: UWMConfig, device: str) -> UnifiedWorldModel:
    """Return the network with random weights that keep activations at unit scale; timing does not depend on them."""
    with torch.device("meta"):
        model = UnifiedWorldModel(config)
    model = model.to_empty(device=device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(0)
    for parameter in model.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 100
        parameter.normal_(std=fan_in**-0.5, generator=generator)
    return model


def noise_of(config: UWMConfig, batch: int, device: str) -> dict[str, Tensor]:
    """Return an observation vector and the initial noise of both modalities."""
    action = (config.action_len, config.action_dim)
    shapes = {"obs": (config.obs_features,), "action": action, "next_obs": config.latent_shape}
    torch.manual_seed(1)
    return {name: torch.randn(batch, *shape, device=device) for name, shape in shapes.items()}


def plain_policy(model: UnifiedWorldModel, x: dict[str, Tensor], steps: int) -> Tensor:
    """Sample p(a|o) with the reference, `UnifiedWorldModel.sample`."""
    noise = Noise(x["action"], x["next_obs"])
    action, _ = model.sample(x["obs"], Question(POLICY), Sampling(steps), noise)
    return action


def fast_policy(fast: FastSampler, x: dict[str, Tensor]) -> Tensor:
    """Sample the same with the fast sampler."""
    return fast(x["obs"], action=x["action"], next_obs=None if fast.drop else x["next_obs"])[0]


def count_work(config: UWMConfig, batch: int, steps: int) -> dict[str, Work]:
    """Count operations on a meta-device model, and bytes of float32 weights, each read once per use."""
    with torch.device("meta"):
        model = UnifiedWorldModel(config).eval()
    x = noise_of(config, batch, "meta")
    flop = {}
    with FlopCounterMode(display=False) as counter:
        plain_policy(model, x, steps)
    flop["plain"] = counter.get_total_flops()
    fast = FastSampler(model, predict=POLICY, steps=steps, batch=batch, graph=False)
    with FlopCounterMode(display=False) as counter:
        fast_policy(fast, x)
    flop["fast"] = counter.get_total_flops()
    sizes = {name: p.numel() * 4 for name, p in model.noise_pred_net.named_parameters()}
    modulation = sum(size for name, size in sizes.items() if "adaLN" in name)
    core = sum(sizes.values()) - modulation - sum(sizes[n] for n in sizes if n.startswith("timestep_embedding"))
    weights = {"plain": steps * sum(sizes.values()), "fast": fast.obs_weight.numel() * 4 + steps * core}
    return {name: Work(flop[name], weights[name]) for name in flop}


def synchronised(device: str) -> None:
    """Wait until the device is idle."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def seconds(work: Callable[[], Any], device: str) -> float:
    """Return the duration of one call [s]."""
    synchronised(device)
    started = time.perf_counter()
    work()
    synchronised(device)
    return time.perf_counter() - started


def matmul_rate(dtype: torch.dtype, device: str) -> float:
    """Return the FLOP/s of a large square matrix product, the best of several."""
    side = 8192 if device.startswith("cuda") else 2048
    a = torch.randn(side, side, device=device).to(dtype)
    return float(2 * side**3 / min(seconds(lambda: a @ a, device) for _ in range(6)))


def copy_rate(device: str) -> float:
    """Return the bytes/s read and written by a large copy, the best of several."""
    source = torch.zeros(1 << 26, device=device)  # 256 MiB
    target = torch.empty_like(source)
    return float(2 * source.numel() * 4 / min(seconds(lambda: target.copy_(source), device) for _ in range(6)))


def compare(reference: Tensor, found: Tensor) -> dict[str, float]:
    """Return the largest difference relative to the largest action, and the cosine between both answers."""
    difference = (reference - found).abs().max() / reference.abs().max()
    cosine = torch.cosine_similarity(reference.flatten().double(), found.flatten().double(), dim=0)
    return {"relative_difference": float(f"{difference:.3g}"), "cosine": round(float(cosine), 6)}


def bench_uwm(
    preset: str, *, device: str, batch: int, steps: int, rounds: int, threads: int, dtypes: tuple[str, ...]
) -> dict[str, Any]:
    """Alternate plain and fast for `rounds` rounds; return times [ms], ratios, work and a bound on the time."""
    if preset not in PRESETS:
        raise ConfigError(f"unknown preset '{preset}'{did_you_mean(preset, PRESETS)}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device is '{device}', but torch sees no CUDA device here; use cpu")
    torch.set_num_threads(threads)
    config = PRESETS[preset]
    model, x = random_model(config, device), noise_of(config, batch, device)
    runs: dict[str, Callable[[], Tensor]] = {"plain": lambda: plain_policy(model, x, steps)}
    for name in dtypes:
        fast = FastSampler(model, predict=POLICY, steps=steps, batch=batch, dtype=DTYPES[name])
        runs[f"fast_{name}"] = lambda fast=fast: fast_policy(fast, x)  # type: ignore[misc]
    answers = {name: run() for name, run in runs.items()}  # also warms up and captures graphs
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(1e3 * seconds(run, device))
    work, rate = count_work(config, batch, steps), copy_rate(device)
    result: dict[str, Any] = {
        "preset": preset,
        "device": device,
        "device_name": device_name(device),
        "threads": threads,
        "batch": batch,
        "steps": steps,
        "rounds": rounds,
        "copy_gb_per_s": round(rate / 1e9, 2),
    }
    for name, values in times.items():
        dtype = name.removeprefix("fast_") if name != "plain" else "float32"
        kind = work["plain" if name == "plain" else "fast"]
        matmul, size = matmul_rate(DTYPES[dtype], device), kind.bytes * DTYPES[dtype].itemsize // 4
        bound, p50 = 1e3 * max(kind.flop / matmul, size / rate), float(np.percentile(values, 50))
        result[name] = {
            "p50_ms": round(p50, 2),
            "p99_ms": round(float(np.percentile(values, 99)), 2),
            "times_faster": round(float(np.median(np.divide(times["plain"], values))), 3),
            **compare(answers["plain"].float(), answers[name].float()),
            "gflop": round(kind.flop / 1e9, 1),
            "weights_mb": round(size / 1e6, 1),
            "matmul_gflop_per_s": round(matmul / 1e9, 1),
            "bound_ms": round(bound, 2),
            "times_the_bound": round(p50 / bound, 3),
        }
    return result


def device_name(device: str) -> str:
    """Return the device's name according to torch or the operating system."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vla-ros bench uwm`."""
    parser.add_argument("--preset", default="libero", choices=list(PRESETS))
    parser.add_argument("--batch", type=int, default=1, help="rows of a chunk")
    parser.add_argument("--steps", type=int, default=10, help="steps of DDIM")
    parser.add_argument("--rounds", type=int, default=12, help="how often each is timed")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--device", default="cpu")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark; return the report."""
    return bench_uwm(
        args.preset,
        device=args.device,
        batch=args.batch,
        steps=args.steps,
        rounds=args.rounds,
        threads=args.threads,
        dtypes=tuple(args.dtypes),
    )
