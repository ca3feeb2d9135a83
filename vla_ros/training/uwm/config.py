"""Declare the YAML files that train a Unified World Model: kinds `autoencoder`, `frame_reader` and `uwm`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vla_ros.core.errors import ConfigError
from vla_ros.datasets.lerobot.columns import Columns
from vla_ros.networks.uwm.autoencoder import AutoencoderConfig
from vla_ros.networks.uwm.config import UWMConfig
from vla_ros.networks.uwm.encoders import KeypointEncoderConfig
from vla_ros.training.config import LoopConfig, check_shares

# Flat keys of files written before the blocks, and where they are now.
MOVED = {
    "initial": "start.folder",
    "initial_part": "start.part",
    "freeze_images": "start.freeze_images",
    "joint_rows": "joint.rows",
    "video_rows": "joint.video_rows",
    "edges": "joint.edges",
    "sentence_dropout": "joint.sentence_dropout",
    "observation_dropout": "joint.observation_dropout",
    "future": "joint.losses.future",
    "joint_action": "joint.losses.action",
    "inverse": "joint.losses.inverse",
    "regression": "losses.regression",
    "auxiliary": "losses.auxiliary",
    "motion_floor": "losses.motion_floor",
}


def check_moved(keys: Iterable[object], where: str) -> None:
    """Raise ConfigError for a flat key of kind `uwm`, and name its block."""
    for key in keys:
        if key in MOVED:
            raise ConfigError(f"{where}: the key '{key}' is now '{MOVED[str(key)]}'")


@dataclass(frozen=True, slots=True)
class AutoencoderTraining:
    """Training of the frame autoencoder; `kl` weighs the posterior's distance to a unit Gaussian.

    data: a folder of `vla-ros demos`, or a LeRobotDataset, whose `columns` may have other names.
    """

    kind: Literal["autoencoder"]
    data: Path
    loop: LoopConfig
    network: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    kl: float = 1e-5
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True, slots=True)
class FrameReaderTraining:
    """Training of a Unified World Model's frame reader on the joints in future frames; see `UWMTraining.reader`.

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
            raise ConfigError("network.reader_width must be > 0, got 0; e.g. 48, the channels of the reader to train")


@dataclass(frozen=True, slots=True)
class Start:
    """The model folder to start from.

    part: its observation encoder, or all of it. freeze_images: its image networks do not learn, and see every frame
    only once.
    """

    folder: Path
    part: Literal["encoder", "all"] = "encoder"
    freeze_images: bool = False


@dataclass(frozen=True, slots=True)
class JointLosses:
    """Weights of the losses of joint rows.

    inverse: of a head for the frame reader that exists only in training (the executed actions by regression, from the
    observation's vector when the future is given).
    """

    action: float = 0.25
    future: float = 1.0
    inverse: float = 0.0


@dataclass(frozen=True, slots=True)
class Joint:
    """Learning of the future: p(a,o'|o) at independent timesteps.

    rows: frames per step that also learn the future. video_rows: further frames per step, from episodes whose actions
    are not known, learned from as action-free video; without them those episodes are left out.
    edges: share of the rows at the timesteps where the questions are asked; 0 is as published.
    sentence_dropout, observation_dropout: chance that a row knows no sentence; that it knows no observation.
    """

    rows: int
    video_rows: int = 0
    edges: float = 0.0
    sentence_dropout: float = 0.0
    observation_dropout: float = 0.0
    losses: JointLosses = field(default_factory=JointLosses)

    def __post_init__(self) -> None:
        if self.rows < 1 or self.video_rows < 0:
            raise ConfigError(f"rows must be > 0 and video_rows >= 0, got {self.rows} and {self.video_rows}")
        check_shares(self, "edges", "sentence_dropout", "observation_dropout")


@dataclass(frozen=True, slots=True)
class Losses:
    """Weights of the losses of every row, beside the action loss.

    regression, auxiliary: of heads that exist only in training (the plan by regression, privileged positions), because
    diffusion alone hardly trains an encoder.
    motion_floor: a joint that moves less than this share of the median joint weighs less in the action losses, as if it
    moved that much; 0 is as published.
    """

    regression: float = 1.0
    auxiliary: float = 1.0
    motion_floor: float = 0.0


@dataclass(frozen=True, slots=True)
class UWMTraining:
    """Training of a Unified World Model on demonstrations.

    data: a folder of `vla-ros demos`, or a LeRobotDataset, whose `columns` may have other names; the latter has no
    privileged positions and one plan per frame, so that `losses.auxiliary` must be 0.
    autoencoder: run folder of a trained autoencoder, or a model folder that has one. out: the model folder to write.
    joint: without it only the policy is learned, which needs no latents and is much faster; the model then knows
    nothing of the future.
    start: the weights to start from. reader: run folder of a `FrameReaderTraining` to start the frame reader from.
    relabelled: learn also from the plans for other tasks that `vla-ros demos` gives each frame; a recording has none.
    plan_rows: of the relabelled plans of a frame, how many the diffusion learns from at each visit.
    future_steps: chunk steps whose frames are predicted. word_dropout: chance that a word of a sentence is left out.
    labelled_share: share of the training episodes whose actions are known.
    """

    kind: Literal["uwm"]
    data: Path
    autoencoder: Path
    out: Path
    loop: LoopConfig
    network: UWMConfig = field(default_factory=UWMConfig)
    joint: Joint | None = None
    start: Start | None = None
    reader: Path | None = None
    losses: Losses = field(default_factory=Losses)
    relabelled: bool = True
    plan_rows: int = 2
    future_steps: tuple[int, ...] = (6, 12)
    execute_steps: int = 2
    sampling_steps: int = 5
    word_dropout: float = 0.1
    labelled_share: float = 1.0
    validation_share: float = 0.04
    columns: Columns = field(default_factory=Columns)

    @property
    def joint_rows(self) -> int:
        """Frames per step that learn the future from known actions."""
        return 0 if self.joint is None else self.joint.rows

    @property
    def freeze_images(self) -> bool:
        """Whether the image networks stay as they were in the model to start from."""
        return self.start is not None and self.start.freeze_images

    def __post_init__(self) -> None:
        self._check_network()
        check_shares(self, "word_dropout")
        if not 0 < self.labelled_share <= 1:
            raise ConfigError(f"labelled_share must be > 0 and <= 1, got {self.labelled_share}")
        if self.freeze_images and self.losses.auxiliary:
            raise ConfigError("start.freeze_images needs losses.auxiliary: 0 (there is nothing left for it to train)")
        if self.joint is not None:
            self._check_joint(self.joint)

    def _check_network(self) -> None:
        network = self.network
        if max(self.future_steps) > network.action_len:
            raise ConfigError(f"future_steps {self.future_steps} reach beyond the chunk of {network.action_len}")
        if self.reader is not None and not network.reader_width:
            raise ConfigError("reader needs network.reader_width > 0, the width of the reader")
        if not isinstance(network.encoder, KeypointEncoderConfig):
            raise ConfigError("this recipe trains the tabletop preset; network.encoder.kind must be keypoints")

    def _check_joint(self, joint: Joint) -> None:
        if joint.rows + joint.video_rows > self.loop.batch:
            raise ConfigError(
                f"joint.rows + joint.video_rows must be <= loop.batch, got {joint.rows} + {joint.video_rows} "
                f"with a batch of {self.loop.batch}"
            )
        if joint.video_rows and self.labelled_share == 1:
            raise ConfigError("joint.video_rows needs labelled_share < 1: there is no action-free video otherwise")
        if joint.losses.inverse and not self.network.reader_width:
            raise ConfigError("joint.losses.inverse needs network.reader_width > 0, the width of the reader")
        if joint.observation_dropout and not self.network.null_observation:
            raise ConfigError("joint.observation_dropout needs network.null_observation: true")
