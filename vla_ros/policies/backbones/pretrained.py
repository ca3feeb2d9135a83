"""Backbones of `transformers` in a model folder: LLaVA-1.5, its HD, LLaVA-NeXT, LLaVA-OneVision and PaliGemma."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import transformers
from transformers import LlavaConfig, LlavaNextConfig, LlavaOnevisionConfig, PaliGemmaConfig

from vla_ros.core.errors import ConfigError, ModelError
from vla_ros.networks.vla.action_tokens import BINS, RESERVED, ActionTokens
from vla_ros.networks.vla.any_resolution import HD
from vla_ros.networks.vla.backbone import CLASSES, Backbone
from vla_ros.policies.backbones.pretrained_reader import FORMS, IMAGES, SENTENCE, TILED, LibraryReader, class_tokens
from vla_ros.policies.backbones.saved import CONFIG, read_config, read_image_processor, read_tokenizer

LibraryFamily = Literal["llava", "llava_hd", "llava_next", "llava_onevision", "paligemma"]
CONFIGS: dict[LibraryFamily, type] = {
    "llava": LlavaConfig,
    "llava_hd": LlavaNextConfig,
    "llava_next": LlavaNextConfig,
    "llava_onevision": LlavaOnevisionConfig,
    "paligemma": PaliGemmaConfig,
}


@dataclass(frozen=True, slots=True)
class LibraryBackbone:
    """A family's network; its config, tokenizer and image processor lie in `folder` of the model folder.

    form: what is written around images and sentence, with {images} and {sentence} in it ({begin} for a token that
    begins the text elsewhere than at its start); empty for the family's own. Frames are padded, cut or tiled as the
    family's image processor does.
    """

    kind: Literal["library"]
    family: LibraryFamily
    folder: str = "backbone"
    form: str = ""

    def __post_init__(self) -> None:
        for part in (IMAGES, SENTENCE):
            if self.form and self.form.count(part) != 1:
                raise ConfigError(f"backbone.form must contain {part} once, got {self.form!r}")

    def side(self, folder: Path) -> int:
        """Pixels along a side of the pictures, or tiles, that it sees."""
        return int(self.config(folder).vision_config.image_size)

    def check(self, cameras: int) -> None:
        """It sees any number of cameras."""

    def config(self, folder: Path) -> Any:
        """The library's; ConfigError where the folder holds none, or another family's."""
        path = folder / self.folder
        config = read_config(path, CONFIGS[self.family], self.family)
        if self.family == "llava_hd":
            self._check_hd(path, config)
        if self.family in TILED and class_tokens(config):
            raise ConfigError(
                f"{path / CONFIG}: vision_feature_select_strategy is '{config.vision_feature_select_strategy}'; right "
                f"for a tower of {config.vision_config.model_type} would be the one that leaves only the patches"
            )
        return config

    def tokens_of(self, backbone: Backbone) -> ActionTokens:
        """The words that stand for numbers: the last ones of the vocabulary, below the image's."""
        config = backbone.model.config
        vocabulary, image = config.get_text_config().vocab_size, config.image_token_id
        among = image >= vocabulary - RESERVED - BINS  # an action must never be read as an image
        try:
            return ActionTokens(vocabulary, vocabulary - image if among else 0)
        except ValueError as error:
            raise ConfigError(f"backbone.family {self.family}: {error}") from None

    def reader(self, folder: Path, backbone: Backbone) -> LibraryReader:
        """What turns pictures and sentences into prompts; ModelError where tokenizer or image processor do not fit."""
        path, config = folder / self.folder, backbone.model.config
        tokenizer = read_tokenizer(path, config.get_text_config().vocab_size)
        form = self.form or FORMS[self.family]
        reader = LibraryReader(self.family, config, tokenizer, read_image_processor(path), form)
        reader.check(str(path))
        return reader

    def build(self, folder: Path) -> Backbone:
        """The network, with random weights."""
        config = self.config(folder)
        vocabulary = config.get_text_config().vocab_size
        if config.image_token_id >= vocabulary:
            raise ModelError(
                f"{folder / self.folder / CONFIG}: image_token_id must be below the vocabulary of "
                f"{vocabulary}, got {config.image_token_id}"
            )
        return Backbone(self.family, getattr(transformers, CLASSES[self.family])(config))

    def _check_hd(self, path: Path, config: Any) -> None:
        """LLaVA-1.5-HD is LLaVA-NeXT's class with tiles of its own."""
        canvases = {tuple(canvas) for canvas in config.image_grid_pinpoints}
        if config.vision_config.image_size != HD.tile or canvases != set(HD.canvases):
            raise ConfigError(
                f"{path / CONFIG}: tiles of {config.vision_config.image_size} pixels on {len(canvases)} canvases; "
                f"llava_hd needs {HD.tile} on {len(HD.canvases)} (`networks.vla.any_resolution.hd_config`)"
            )
