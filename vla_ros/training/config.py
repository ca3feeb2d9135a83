"""What a training run needs to know: one strict YAML file in `config/training`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vla_ros.core.errors import ConfigError
from vla_ros.datasets.lerobot.columns import Columns
from vla_ros.networks.uwm.autoencoder import AutoencoderConfig
from vla_ros.networks.uwm.config import UWMConfig
from vla_ros.networks.uwm.encoders import KeypointEncoderConfig


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """The loop that every training shares.

    run: folder for checkpoints and curves. steps: optimiser steps. batch: frames a step and process.
    learning_rate: peak, after `warmup` steps, then cosine to zero. clip: gradient norm.
    ema: decay of the averaged weights that are saved; 0 for none. threads: CPU threads a process.
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
                raise ConfigError(f"{name} is {getattr(self, name)}; right would be > 0")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"ema is {self.ema}; right would be 0 (none) to below 1")


@dataclass(frozen=True, slots=True)
class AutoencoderTraining:
    """Training of the frame autoencoder; `kl` weighs the posterior's distance to a unit Gaussian.

    data: a folder of `vla-ros demos`, or a LeRobotDataset, whose `columns` may bear other names.
    """

    kind: Literal["autoencoder"]
    data: Path
    loop: LoopConfig
    network: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    kl: float = 1e-5
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True, slots=True)
class FrameReaderTraining:
    """Training of a Unified World Model's frame reader, on the joints in future frames; `UWMTraining.reader` takes it.

    data, autoencoder, future_steps, labelled_share, validation_share: as in `UWMTraining`. network: the world model's.
    clean: share of the frames without noise.
    """

    kind: Literal["frame_reader"]
    data: Path
    autoencoder: Path
    loop: LoopConfig
    network: UWMConfig
    future_steps: tuple[int, ...] = (6, 12)
    clean: float = 0.8
    validation_share: float = 0.04
    labelled_share: float = 1.0
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        if not self.network.reader_width:
            raise ConfigError("network.reader_width is 0; right would be the channels of the reader to train, e.g. 48")


@dataclass(frozen=True, slots=True)
class UWMTraining:
    """Training of a Unified World Model on demonstrations.

    data: a folder of `vla-ros demos`, or a LeRobotDataset, whose `columns` may bear other names; the latter knows no
    privileged positions and one plan a frame, so that `auxiliary` must be 0.
    autoencoder: run folder of a trained autoencoder, or a model folder that has one. out: the model folder to write.
    relabelled: learn also from the plans for other tasks that `vla-ros demos` gives each frame; a recording has none.
    initial: a model folder to start from. initial_part: its observation encoder, or all of it.
    freeze_images: its image networks stay as they are, and see every frame only once.
    reader: run folder of a trained frame reader (`FrameReaderTraining`) to start from.
    plan_rows: of the relabelled plans of a frame, how many the diffusion learns from at each visit.
    joint_rows: frames a step that also learn the future (p(a,o'|o) at independent timesteps). 0: only the policy is
    learned, which needs no latents and is much faster; the model then has nothing to say of the future.
    edges: share of the joint rows at the timesteps where the questions are asked; 0 is as published.
    future_steps: chunk steps whose frames are predicted. word_dropout: chance that a word of a sentence is left out.
    sentence_dropout, observation_dropout: chance that a joint row knows no sentence; that it has seen nothing.
    regression, auxiliary, future, joint_action: weights of the losses beside the action loss; the first two train heads
    that only exist in training (the plan by regression, privileged positions), because diffusion alone hardly trains an
    encoder.
    motion_floor: a joint that moves less than this share of the median joint weighs less in the action losses, as if it
    moved so much; 0 is as published. inverse: weight of the loss of one more such head, for the frame reader (the
    executed actions by regression, from the observation's vector where the future is given).
    labelled_share: share of the training episodes whose actions are known. video_rows: frames a step of the others,
    learned from as action-free video beside the joint rows; without them the others are left out.
    """

    kind: Literal["uwm"]
    data: Path
    autoencoder: Path
    out: Path
    loop: LoopConfig
    network: UWMConfig = field(default_factory=UWMConfig)
    relabelled: bool = True
    initial: Path | None = None
    initial_part: Literal["encoder", "all"] = "encoder"
    freeze_images: bool = False
    reader: Path | None = None
    future_steps: tuple[int, ...] = (6, 12)
    execute_steps: int = 2
    sampling_steps: int = 5
    plan_rows: int = 2
    joint_rows: int = 24
    edges: float = 0.0
    word_dropout: float = 0.1
    sentence_dropout: float = 0.0
    observation_dropout: float = 0.0
    regression: float = 1.0
    auxiliary: float = 1.0
    future: float = 1.0
    joint_action: float = 0.25
    motion_floor: float = 0.0
    inverse: float = 0.0
    validation_share: float = 0.04
    labelled_share: float = 1.0
    video_rows: int = 0
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        if min(self.joint_rows, self.video_rows) < 0 or self.joint_rows + self.video_rows > self.loop.batch:
            raise ConfigError(
                f"joint_rows is {self.joint_rows} and video_rows {self.video_rows}; right would be at least 0, "
                f"and together at most the batch, {self.loop.batch}"
            )
        if self.video_rows and not self.joint_rows:
            raise ConfigError("video_rows needs joint_rows above 0: video is learned from beside them")
        if max(self.future_steps) > self.network.action_len:
            raise ConfigError(f"future_steps {self.future_steps} reach beyond the chunk of {self.network.action_len}")
        for name in ("edges", "word_dropout", "sentence_dropout", "observation_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; right would be 0 to 1")
        if not 0 < self.labelled_share <= 1:
            raise ConfigError(f"labelled_share is {self.labelled_share}; right would be above 0, up to 1")
        if self.video_rows and self.labelled_share == 1:
            raise ConfigError("video_rows needs a labelled_share below 1: there is no action-free video otherwise")
        if self.freeze_images and (self.initial is None or self.auxiliary):
            raise ConfigError("freeze_images needs 'initial', and auxiliary: 0 (there is nothing left for it to train)")
        if (self.reader is not None or self.inverse) and not self.network.reader_width:
            raise ConfigError("reader and inverse need a network.reader_width above 0, that of the reader")
        if self.observation_dropout and not self.network.null_observation:
            raise ConfigError("observation_dropout needs network.null_observation: true")
        if not isinstance(self.network.encoder, KeypointEncoderConfig):
            raise ConfigError("this recipe trains the tabletop preset; network.encoder.kind must be keypoints")
