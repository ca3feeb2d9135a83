"""What the training of a vision-language-action model needs to know: a YAML file of kind `vla`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vla_ros.core.errors import ConfigError
from vla_ros.datasets.lerobot.columns import Columns
from vla_ros.policies.backbones.tiny import TinyBackbone
from vla_ros.policies.vla import HeadSizes, VLAFormulation
from vla_ros.training.config import LoopConfig, check_shares


@dataclass(frozen=True, slots=True)
class VLATraining:
    """Fine-tuning of a tiny vision-language backbone on demonstrations.

    data: a folder of `vla-ros demos`, or a LeRobotDataset, whose `columns` may bear other names; the latter knows no
    privileged positions and one plan a frame, so that `auxiliary` and `answers` must be 0. out: the model folder to
    write.
    initial: a model folder to start from, all of its weights that this network has, too; the words are added to.
    tower: a model folder of kind uwm, whose image networks become the tower (backbone.keypoints), as LLaVA starts from
    a trained CLIP. It stays as it is, and sees every frame only once; auxiliary must be 0.
    freeze_backbone: only the head learns, from the backbone's features, which are computed once.
    relabelled: whether a frame is also learned from under the sentences of other tasks, with the plans that the expert
    has for them. Windows never are: those tasks change from frame to frame.
    sentences: of the relabelled plans of a frame, how many are learned from at each visit (one-step formulations).
    horizon: actions of a chunk; the demonstrations' plans may be longer.
    window: frames of history that the head sees (1 for the one-step formulations).
    auxiliary: weight of the privileged positions that a head of training alone reads off the images; it teaches the
    encoder where things are, which plans alone teach slowly.
    answers: weight of what is said about a frame, beside what is done; questions: how many of each frame at each visit.
    captions: share of the questions that ask for a caption.
    judged: share of the batches whose questions are about the moments when a task comes to be done: whether it is.
    gripper: weight of the gripper's cross-entropy (published: 0.01).
    word_dropout: chance that a word of a sentence becomes the unknown or some other word, so that strange ones do no
    harm.
    """

    kind: Literal["vla"]
    data: Path
    out: Path
    loop: LoopConfig
    backbone: TinyBackbone = field(default_factory=TinyBackbone)
    head: HeadSizes = field(default_factory=HeadSizes)
    formulation: VLAFormulation = "policy_head"
    initial: Path | None = None
    tower: Path | None = None
    freeze_backbone: bool = False
    horizon: int = 12
    window: int = 1
    relabelled: bool = True
    sentences: int = 4
    auxiliary: float = 1.0
    gripper: float = 0.05
    answers: float = 0.0
    questions: int = 3
    captions: float = 0.1
    judged: float = 0.0
    word_dropout: float = 0.1
    execute_steps: int = 2
    validation_share: float = 0.04
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        for name in ("window", "sentences", "questions"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be >= 1, got {getattr(self, name)}")
        check_shares(self, "word_dropout", "captions", "judged", below_one=True)
        if self.formulation in ("one_step", "discrete") and self.window != 1:
            raise ConfigError(f"window must be 1 for '{self.formulation}', got {self.window}")
        self._check_frozen()
        if self.answers and self.window > 1:
            raise ConfigError("answers are learned about single frames; set answers: 0 or window: 1")
        if self.judged and not self.answers:
            raise ConfigError("judged needs answers > 0")

    def _check_frozen(self) -> None:
        """Raise ConfigError if something frozen leaves nothing for another choice to train."""
        if self.freeze_backbone and (self.initial is None or self.auxiliary):
            raise ConfigError("freeze_backbone needs 'initial', and auxiliary: 0 (nothing is left for it to train)")
        if self.tower is not None and (self.backbone.keypoints is None or self.auxiliary):
            raise ConfigError("tower needs backbone.keypoints, and auxiliary: 0 (the tower does not learn)")
        if self.freeze_backbone and self.formulation != "policy_head":
            raise ConfigError(f"freeze_backbone: a '{self.formulation}' model learns in its backbone; set it false")
