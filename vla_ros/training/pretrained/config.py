"""What the fine-tuning of a library's vision-language model needs to know: a YAML file of kind `vla_library`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vla_ros.core.errors import ConfigError
from vla_ros.datasets.lerobot.columns import Columns
from vla_ros.policies.backbones.pretrained import LibraryFamily
from vla_ros.policies.vla import HeadSizes, VLAFormulation
from vla_ros.training.config import LoopConfig

BackbonePart = Literal["vision", "projector", "embeddings"]


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Where a family's weights (safetensors), config, tokenizer and image processor lie, as `save_pretrained` writes.

    form: what is written around images and sentence; empty for the family's own. See `policies.backbones.pretrained`.
    """

    family: LibraryFamily
    folder: Path
    form: str = ""


@dataclass(frozen=True, slots=True)
class LoRA:
    """Low-rank adapters (Hu et al., arXiv 2106.09685) on the language model's linear layers that `targets` name.

    What an adapter adds is scaled by alpha / rank; dropout is of its input, in training alone.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.05
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0:
            raise ConfigError(f"lora.rank and lora.alpha must be > 0, got {self.rank} and {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"lora.dropout must be from 0 to below 1, got {self.dropout}")
        if not self.targets:
            raise ConfigError("lora.targets is empty; name layers, such as q_proj")


@dataclass(frozen=True, slots=True)
class VLALibraryTraining:
    """Fine-tuning of a pretrained vision-language model on demonstrations, by adapters or as a whole.

    data: a folder of `vla-ros demos`, or a LeRobotDataset, whose `columns` may bear other names.
    out: the model folder to write; adapters are merged into its weights.
    lora: without it, the whole backbone learns but for the parts in `freeze`. Head, action token and what tells the
    joints' positions always learn as a whole.
    checkpointing: compute the backbone's activations anew on the way back, for less memory and more time.
    horizon: actions of a chunk. window: frames of history (1 for the one-step formulations), an execution apart.
    loop.batch: frames of all histories of a step and process. gripper: weight of its cross-entropy (published: 0.01).
    """

    kind: Literal["vla_library"]
    data: Path
    out: Path
    pretrained: Pretrained
    loop: LoopConfig
    lora: LoRA | None = None
    freeze: tuple[BackbonePart, ...] = ()
    checkpointing: bool = False
    head: HeadSizes = field(default_factory=HeadSizes)
    formulation: VLAFormulation = "policy_head"
    horizon: int = 12
    window: int = 1
    gripper: float = 0.05
    execute_steps: int = 2
    validation_share: float = 0.04
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        one = self.formulation in ("one_step", "discrete")
        if self.window < 1 or (one and self.window != 1):
            raise ConfigError(f"window must be {'1' if one else '>= 1'} for '{self.formulation}', got {self.window}")
        if self.lora is not None and self.freeze:
            raise ConfigError(
                "freeze: with lora, nothing of the backbone but the adapters learns; leave one of them out"
            )
        if self.window > self.loop.batch:
            raise ConfigError(f"loop.batch must be >= the window, {self.window}, got {self.loop.batch}")
