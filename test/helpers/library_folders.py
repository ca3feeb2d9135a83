"""Folders as `save_pretrained` writes them, of every family at a tiny random size, with a tokenizer of bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from vla_ros.networks.vla.any_resolution import HD, grids, hd_config
from vla_ros.networks.vla.backbone import CLASSES

FAMILIES = ("llava", "llava_hd", "llava_next", "llava_onevision", "paligemma")
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
IMAGE, VOCABULARY = 4, 640
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
TEXT = {**SIZES, **IDS, "num_key_value_heads": 2, "vocab_size": VOCABULARY}
PINPOINTS = [list(canvas) for canvas in grids(28, (1, 2), (2, 1), (2, 2))]


def clip(side: int = 28) -> hf.CLIPVisionConfig:
    return hf.CLIPVisionConfig(**SIZES, image_size=side, patch_size=14)


def siglip(**more: Any) -> hf.SiglipVisionConfig:
    return hf.SiglipVisionConfig(**SIZES, image_size=28, patch_size=14, vision_use_head=False, **more)


def config_of(family: str) -> Any:
    """The library's config; of the same sizes for each."""
    if family == "llava":
        return hf.LlavaConfig(vision_config=clip(), text_config=hf.LlamaConfig(**TEXT), image_token_id=IMAGE)
    if family == "llava_hd":
        return hd_config(hf.LlamaConfig(**TEXT), clip(HD.tile), image_token_id=IMAGE)
    if family == "llava_next":
        return hf.LlavaNextConfig(
            vision_config=clip(),
            text_config=hf.LlamaConfig(**TEXT),
            image_token_id=IMAGE,
            image_grid_pinpoints=PINPOINTS,
        )
    if family == "llava_onevision":
        return hf.LlavaOnevisionConfig(
            vision_config=siglip(),
            text_config=hf.Qwen2Config(**TEXT),
            image_token_id=IMAGE,
            video_token_id=639,
            image_grid_pinpoints=PINPOINTS,
        )
    return hf.PaliGemmaConfig(
        vision_config=siglip(projection_dim=16),
        text_config=hf.GemmaConfig(**TEXT, head_dim=8),
        image_token_id=IMAGE,
        projection_dim=16,
    )


def tokenizer_of(family: str, special: tuple[str, ...] = SPECIAL) -> hf.PreTrainedTokenizerFast:
    """One token a byte, so that every blank and line end of a prompt is seen."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: place for place, word in enumerate([*special, *letters])}
    made = Tokenizer(models.BPE(vocab=words, merges=[], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    if family != "llava_onevision":  # Qwen2's begins with nothing
        made.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    extra = {"image_token": "<image>"} if "<image>" in special else {}
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        extra_special_tokens=extra,
    )


def images_of(family: str) -> Any:
    """The family's image processor, of the sizes of `config_of`."""
    if family == "llava":
        return CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    if family == "llava_onevision":
        return LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=PINPOINTS)
    if family == "paligemma":
        return SiglipImageProcessorPil(size={"height": 28, "width": 28}, image_seq_length=4)
    side = HD.tile if family == "llava_hd" else 28
    canvases = [list(canvas) for canvas in HD.canvases] if family == "llava_hd" else PINPOINTS
    return LlavaNextImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, image_grid_pinpoints=canvases
    )


def model_of(family: str, seed: int = 0) -> Any:
    """The library's model with random weights."""
    torch.manual_seed(seed)
    return getattr(hf, CLASSES[family])(config_of(family))


def backbone_folder(family: str, folder: Path, weights: bool = False) -> Path:
    """Config, tokenizer and image processor, with or without random weights."""
    folder.mkdir(parents=True)
    if weights:
        model_of(family).save_pretrained(folder)
    config_of(family).save_pretrained(folder)
    tokenizer_of(family).save_pretrained(folder)
    images_of(family).save_pretrained(folder)
    return folder
