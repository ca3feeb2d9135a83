"""What a training run needs to know: one strict YAML file in `config/training`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vla_ros.core.errors import ConfigError
from vla_ros.networks.autoencoder import AutoencoderConfig
from vla_ros.networks.uwm import UWMConfig


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """The loop that every training shares.

    run: folder for checkpoints and curves. steps: optimiser steps. batch: frames a step and process.
    learning_rate: peak, after `warmup` steps, then cosine to zero. clip: gradient norm.
    ema: decay of the averaged weights that are saved; 0 for none. threads: CPU threads a process.
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

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "learning_rate", "clip", "checkpoint_every", "validate_every", "threads"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; right would be > 0")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"ema is {self.ema}; right would be 0 (none) to below 1")


@dataclass(frozen=True, slots=True)
class AutoencoderTraining:
    """Training of the frame autoencoder; `kl` weighs the posterior's distance to a unit Gaussian."""

    kind: Literal["autoencoder"]
    data: Path
    loop: LoopConfig
    network: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    kl: float = 1e-5


@dataclass(frozen=True, slots=True)
class UWMTraining:
    """Training of a Unified World Model on demonstrations.

    autoencoder: run folder of a trained autoencoder. out: the model folder to write.
    plan_rows: of the relabelled plans of a frame, how many the diffusion learns from at each visit.
    joint_rows: frames a step that also learn the future (p(a,o'|o) at independent timesteps).
    future_steps: chunk steps whose frames are predicted. word_dropout: chance that a word of a sentence is left out.
    regression, auxiliary, future: weights of the losses beside the action loss; the first two train heads that only
    exist in training (the plan by regression, privileged positions), because diffusion alone hardly trains an encoder.
    """

    kind: Literal["uwm"]
    data: Path
    autoencoder: Path
    out: Path
    loop: LoopConfig
    network: UWMConfig = field(default_factory=UWMConfig)
    future_steps: tuple[int, ...] = (6, 12)
    execute_steps: int = 2
    sampling_steps: int = 5
    plan_rows: int = 2
    joint_rows: int = 24
    word_dropout: float = 0.1
    regression: float = 1.0
    auxiliary: float = 1.0
    future: float = 1.0
    validation_share: float = 0.04

    def __post_init__(self) -> None:
        if not 0 < self.joint_rows <= self.loop.batch:
            raise ConfigError(f"joint_rows is {self.joint_rows}; right would be 1 to the batch, {self.loop.batch}")
        if max(self.future_steps) > self.network.action_len:
            raise ConfigError(f"future_steps {self.future_steps} reach beyond the chunk of {self.network.action_len}")
