"""What a library's vision-language model learns from a batch, and which of its weights do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vla_ros.networks.vla.backbone import Backbone, Prompt
from vla_ros.networks.vla.formulations import ContinuousVLA, DiscreteVLA
from vla_ros.networks.vla.policy_head import Actions
from vla_ros.training.pretrained.batches import unflat
from vla_ros.training.pretrained.config import VLALibraryTraining
from vla_ros.training.vla.loss import compared

# What the library calls it; the old name warns from 5.24 on and goes with 6.
NEW, OLD = "activation_checkpointing_enable", "gradient_checkpointing_enable"
CHECKPOINTING = NEW if hasattr(PreTrainedModel, NEW) else OLD


class VLALibraryLoss(nn.Module):
    """The policy; `forward` takes a batch of `LibraryBatches`."""

    def __init__(self, config: VLALibraryTraining, vla: ContinuousVLA | DiscreteVLA, gripper: int) -> None:
        super().__init__()
        self.config, self.vla, self.gripper = config, vla, gripper
        choose_what_learns(vla, config)

    def forward(
        self, state: Tensor, actions: Tensor, known: Tensor, ids: Tensor, mask: Tensor, **parts: Tensor
    ) -> dict[str, Tensor]:
        """Weighted losses by name: state (B, W, D), actions (B, W, H, A), known (B, W); ids, mask (B W, L) and the
        other tensors of the prompt.
        """
        prompt = unflat(ids, mask, parts)
        if isinstance(self.vla, DiscreteVLA):
            return {"words": self.vla.loss(prompt, actions.flatten(1))}
        return compared(self.act(self.vla, prompt, state), actions, known, self.gripper, self.config.gripper)

    def act(self, vla: ContinuousVLA, prompt: Prompt, state: Tensor) -> Actions:
        """Chunks of each step, (B, W, chunk, .)."""
        features = vla.features(vla.told(prompt, state.flatten(0, 1)), state.shape[1])
        # Actions are numbers: the head, small beside the backbone, computes them in full precision.
        with torch.autocast(features.device.type, enabled=False):
            actions: Actions = vla.act_head(features.float())
        return actions


def choose_what_learns(vla: ContinuousVLA | DiscreteVLA, config: VLALibraryTraining) -> None:
    """Adapters or the whole backbone, but for the parts to freeze; what is no backbone learns anyway."""
    backbone = vla.backbone
    model = backbone.model
    model.config.get_text_config().use_cache = False  # nothing is continued in training
    if config.lora is not None:
        from vla_ros.training.pretrained.lora import adapt  # peft is not needed for anything else

        model.requires_grad_(False)
        adapt(model.model.language_model, config.lora)
    for part in config.freeze:
        part_of(backbone, part).requires_grad_(False)
    if isinstance(vla, ContinuousVLA) and not tied(model):
        model.get_output_embeddings().requires_grad_(False)  # it writes no words: no gradient would reach them
    if config.checkpointing:
        getattr(model, CHECKPOINTING)({"use_reentrant": False})


def part_of(backbone: Backbone, part: str) -> nn.Module:
    """A part of a library's model by our name."""
    inner = backbone.model.model
    found: nn.Module = {
        "vision": inner.vision_tower,
        "projector": inner.multi_modal_projector,
        "embeddings": backbone.model.get_input_embeddings(),
    }[part]
    return found


def tied(model: Any) -> bool:
    """Whether words are written with the weights that they are read with."""
    return bool(model.get_output_embeddings().weight is model.get_input_embeddings().weight)
