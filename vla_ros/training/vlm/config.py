"""What the training of a vision-language model that speaks of scenes needs to know: a YAML file of kind `vlm`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vla_ros.core.errors import ConfigError
from vla_ros.datasets.lerobot.columns import Columns
from vla_ros.policies.backbones.tiny import TinyBackbone
from vla_ros.training.config import LoopConfig, check_shares

Stage = Literal["words", "align", "instruct"]
BEFORE: dict[str, str] = {"align": "words", "instruct": "align"}
LEARNS: dict[str, str] = {"words": "decoder", "align": "projector", "instruct": "all"}


@dataclass(frozen=True, slots=True)
class VLMTraining:
    """LLaVA's recipe (arXiv 2304.08485, section 4.2) for the tiny backbone, up to the fine-tuning on actions.

    stage: 'words' teaches the decoder to speak, of captions that a layer of training alone makes as short as pictures
    will be (LLaVA takes a decoder that can speak); 'align' teaches the projector alone to stand for captions (stage 1);
    'instruct' teaches projector and decoder to answer questions about frames, and about what has changed between two
    (stage 2).
    data: a folder of `vla-ros demos`; `columns` may say which of its columns are grippers. out: the model folder to
    write. initial: the folder of the stage before.
    tower: a model folder of kind uwm, whose image networks become the tower, frozen, as LLaVA takes a trained CLIP.
    questions: of each frame at each visit. captions: share of the frames that are also described, in 'instruct'.
    """

    kind: Literal["vlm"]
    stage: Stage
    data: Path
    out: Path
    loop: LoopConfig
    tower: Path
    backbone: TinyBackbone = field(default_factory=TinyBackbone)
    initial: Path | None = None
    questions: int = 3
    captions: float = 0.1
    validation_share: float = 0.04
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        if (self.initial is None) != (self.stage == "words"):
            wanted = (
                f"the folder of stage '{BEFORE[self.stage]}'" if self.stage in BEFORE else "none, it begins with it"
            )
            raise ConfigError(f"initial must be {wanted} for stage '{self.stage}', got {self.initial}")
        if self.backbone.keypoints is None:
            raise ConfigError("tower needs backbone.keypoints")
        if self.questions < 1:
            raise ConfigError(f"questions must be >= 1, got {self.questions}")
        check_shares(self, "captions")
