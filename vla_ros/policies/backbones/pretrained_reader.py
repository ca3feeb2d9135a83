"""How the families of `transformers` read: the family's own words around images and sentence, its own pictures.

Image processors are the library's, in their form without torchvision. The placeholders are counted here, because the
library's processors of whole prompts want torchvision in part; `test/policies/backbones/test_pretrained.py` holds both
equal where both run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vla_ros.core.errors import MessageError, ModelError
from vla_ros.core.streams.admission import check_order
from vla_ros.networks.vla.any_resolution import Size, image_tokens, layout_of, several_image_tokens
from vla_ros.networks.vla.backbone import Family, Prompt

IMAGES, SENTENCE, BEGIN = "{images}", "{sentence}", "{begin}"
VICUNA = "USER: {images}{sentence} ASSISTANT:"
SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions. "
)
CHATML = "<|im_start|>user\n{images}{sentence}<|im_end|>\n<|im_start|>assistant\n"
# As each family was trained to be asked; a LLaVA of another language model wants another form.
FORMS: dict[Family, str] = {
    "llava": VICUNA,
    "llava_hd": VICUNA,
    "llava_next": SYSTEM + VICUNA,
    "llava_onevision": CHATML,
    "paligemma": "{images}{begin}{sentence}\n",
}
TILED = ("llava_hd", "llava_next", "llava_onevision")
WITH_CLASS_TOKEN = ("clip_vision_model", "vit")  # towers whose output has one more token than patches
VISION = ("pixel_values", "image_sizes", "batch_num_images")  # what a model wants of an image processor's answer


def placeholders(family: Family, config: Any, sizes: Sequence[Size]) -> list[int]:
    """Visual tokens of each image of a prompt, by its (height, width). config: the library's."""
    if family in TILED:
        layout = layout_of(config)
        if family == "llava_onevision" and len(sizes) > 1:
            return [several_image_tokens(1, layout)] * len(sizes)
        return [image_tokens(size, layout) for size in sizes]
    vision = config.vision_config
    tokens = (int(vision.image_size) // int(vision.patch_size)) ** 2
    if family == "llava":
        tokens += class_tokens(config)
    return [tokens] * len(sizes)


def class_tokens(config: Any) -> int:
    """Tokens of a LLaVA's image beside its patches: 0 as published; 1 where the tower's class token is kept."""
    there = config.vision_config.model_type in WITH_CLASS_TOKEN
    return int(there) - int(config.vision_feature_select_strategy == "default")


@dataclass(frozen=True, slots=True)
class LibraryReader:
    """A tokenizer, an image processor, and the family's form of a prompt; config is the library's, of the network."""

    family: Family
    config: Any
    tokenizer: Any
    images: Any
    form: str

    def prompt(self, frames: Sequence[NDArray[np.uint8]], sentence: str) -> Prompt:
        """One row. MessageError where the sentence is empty, endless or holds a token that is no word."""
        told = self._checked(sentence)
        counts = placeholders(self.family, self.config, [(frame.shape[0], frame.shape[1]) for frame in frames])
        text = self.form.replace(IMAGES, "".join(self._places(count) for count in counts))
        text = text.replace(BEGIN, self.tokenizer.bos_token or "").replace(SENTENCE, told)
        # PaliGemma's begin stands behind the images, where its form has it; others begin as their tokenizer says.
        row = torch.tensor([self.tokenizer(text, add_special_tokens=BEGIN not in self.form)["input_ids"]])
        aligned = {"token_type_ids": torch.zeros_like(row)} if self.family == "paligemma" else {}
        return Prompt(row, torch.ones_like(row), self.see(frames), aligned)

    @property
    def padding(self) -> int:
        """An id that stands for nothing."""
        return int(self.tokenizer.pad_token_id or 0)

    def see(self, frames: Sequence[NDArray[np.uint8]]) -> dict[str, torch.Tensor]:
        """(H, W, 3) uint8 of every camera -> what the network wants of images."""
        # Nested, as of one prompt: LLaVA-OneVision reads several images otherwise than one.
        found = self.images([list(frames)], return_tensors="pt", input_data_format="channels_last")
        return {name: found[name] for name in VISION if name in found}

    def said(self, ids: Sequence[int]) -> str:
        """The words of an answer."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text.strip()

    def check(self, where: str) -> None:
        """ModelError unless tokenizer and image processor are of this network. where: the folder, for the message."""
        image = self.config.image_token_id
        if image not in self.tokenizer.all_special_ids:
            raise ModelError(f"{where}: its tokenizer has no special token {image}, which stands for images")
        if BEGIN in self.form and self.tokenizer.bos_token is None:
            raise ModelError(f"{where}: its tokenizer lacks the token that begins a text")
        vision, dims = self.see([np.zeros((8, 8, 3), np.uint8)]), 5 if self.family in TILED else 4
        side, shape = int(self.config.vision_config.image_size), tuple(vision["pixel_values"].shape)
        if len(shape) != dims or shape[-2:] != (side, side):
            raise ModelError(
                f"{where}: its image processor ({type(self.images).__name__}) makes pictures of shape {shape}; "
                f"{self.family} needs {dims} dimensions, the last two {side}x{side}"
            )
        if self.family in TILED and list(map(list, self.images.image_grid_pinpoints)) != list(
            map(list, self.config.image_grid_pinpoints)
        ):
            raise ModelError(f"{where}: image_grid_pinpoints of its image processor and of its config are not the same")

    def _places(self, count: int) -> str:
        """The placeholders of an image, in words."""
        word: str = self.tokenizer.convert_ids_to_tokens(self.config.image_token_id)
        return word * count + ("" if self.family == "paligemma" else "\n")

    def _checked(self, sentence: str) -> str:
        """The sentence; a token with a meaning of its own would be read as an image, or as the end of what is said."""
        told = check_order(sentence)
        for token in self.tokenizer.all_special_tokens:
            if token in told:
                raise MessageError(f"the instruction holds '{token}', which is no word to this model; leave it out")
        return told
