"""Kosmos-2 as a policy's backbone: its folder, and how RoboVLMs feeds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Kosmos2Config, Kosmos2ForConditionalGeneration

from vla_ros.core.errors import ModelError
from vla_ros.core.streams.admission import check_order
from vla_ros.networks.vision import resize_and_crop
from vla_ros.networks.vla.action_tokens import ActionTokens
from vla_ros.networks.vla.backbone import Backbone, Prompt
from vla_ros.policies.backbones.saved import read_config, read_tokenizer

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class KosmosBackbone:
    """Kosmos-2, whose config and tokenizer lie in `folder` of the model folder (as `save_pretrained` writes them)."""

    kind: Literal["kosmos2"]
    folder: str = "backbone"

    def side(self, folder: Path) -> int:
        """Pixels along a side of the pictures that it sees."""
        return int(self.config(folder).vision_config.image_size)

    def check(self, cameras: int) -> None:
        """It sees any number of cameras."""

    def config(self, folder: Path) -> Kosmos2Config:
        """The library's; ConfigError where the folder holds none, or another model's."""
        return read_config(folder / self.folder, Kosmos2Config, "kosmos-2")

    def tokens_of(self, backbone: Backbone) -> ActionTokens:
        """The words that stand for numbers."""
        return ActionTokens(backbone.model.config.get_text_config().vocab_size)

    def reader(self, folder: Path, backbone: Backbone) -> KosmosReader:
        """What turns pictures and sentences into prompts; ModelError where the tokenizer is another model's."""
        path, config = folder / self.folder, backbone.model.config
        tokenizer = read_tokenizer(path, config.get_text_config().vocab_size)
        if tokenizer.bos_token_id is None:
            raise ModelError(f"{path}: its tokenizer lacks the token that begins a text; use kosmos-2's")
        return KosmosReader(tokenizer, int(config.vision_config.image_size), int(config.latent_query_num))

    def build(self, folder: Path) -> Backbone:
        """The network, with random weights."""
        return Backbone("kosmos2", Kosmos2ForConditionalGeneration(self.config(folder)))


@dataclass(frozen=True, slots=True)
class KosmosReader:
    """As RoboVLMs feeds Kosmos-2: begin, the latents of every picture, then the sentence behind its fixed words."""

    tokenizer: Any
    side: int
    latents: int

    def prompt(self, frames: Sequence[NDArray[np.uint8]], sentence: str) -> Prompt:
        """One row."""
        told = f"<grounding>An image of a robot {check_order(sentence)}"
        text = self.tokenizer(told, add_special_tokens=False)["input_ids"]
        begin, places = self.tokenizer.bos_token_id, len(frames) * self.latents
        row = torch.tensor([[begin, *[begin] * places, *text]])
        mask = torch.zeros_like(row)
        mask[:, 1 : 1 + places] = 1
        seen = torch.cat([self._picture(frame) for frame in frames])
        return Prompt(row, torch.ones_like(row), {"pixel_values": seen}, {"image_embeds_position_mask": mask})

    def _picture(self, frame: NDArray[np.uint8]) -> Tensor:
        """(H, W, 3) -> (1, 3, side, side), normalised as CLIP's."""
        size = (self.side, self.side)
        picture = resize_and_crop(torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255, size, size)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        return (picture - mean) / std

    def said(self, ids: Sequence[int]) -> str:
        """The words of an answer."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text.strip()
