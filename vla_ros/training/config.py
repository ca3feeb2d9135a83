"""Declare what every training run shares: the `loop` block of a YAML file in `config/training`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vla_ros.core.errors import ConfigError


def check_shares(block: Any, *names: str, where: str = "", below_one: bool = False) -> None:
    """Raise ConfigError unless the fields `names` of `block` are from 0 to 1 (or `below_one`)."""
    for name in names:
        value = getattr(block, name)
        if not 0 <= value <= 1 or (below_one and value == 1):
            raise ConfigError(f"{where}{name} must be from 0 to {'below ' * below_one}1, got {value}")


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """The loop that every training shares.

    run: folder for checkpoints and curves. steps: optimiser steps. batch: frames per step and process.
    learning_rate: peak, after `warmup` steps, then cosine to zero. clip: gradient norm.
    ema: decay of the averaged weights that are saved; 0 for none. threads: CPU threads per process.
    precision: of the forward pass; weights stay float32. bf16 is for GPUs: most CPUs compute it more slowly.
    """

    run: Path
    steps: int
    batch: int
    learning_rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.995
    checkpoint_every: int = 250
    validate_every: int = 250
    seed: int = 0
    threads: int = 2
    precision: Literal["float32", "bf16"] = "float32"

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "learning_rate", "clip", "checkpoint_every", "validate_every", "threads"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be > 0, got {getattr(self, name)}")
        check_shares(self, "ema", below_one=True)
