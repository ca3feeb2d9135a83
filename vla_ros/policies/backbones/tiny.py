"""What a policy's backbone is, how it is built, and how it reads: the tiny one; the others have files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.core.errors import ConfigError, ModelError
from vla_ros.networks.sizes import MOST_HEADS, MOST_LAYERS, MOST_UNITS, MOST_WORDS, check_sizes
from vla_ros.networks.vla.action_tokens import BINS, RESERVED, ActionTokens
from vla_ros.networks.vla.backbone import Backbone, KeypointTower, Prompt, tiny_config, tiny_model
from vla_ros.policies.backbones.kosmos import KosmosBackbone
from vla_ros.policies.backbones.pretrained import LibraryBackbone
from vla_ros.policies.backbones.words import Words, load_words

IMAGE_TOKENS = 1  # the placeholder of images, the last of the vocabulary


@dataclass(frozen=True, slots=True)
class KeypointTowerConfig:
    """A keypoint network a camera in the place of the ViT, of the sizes of a UWM's; see `networks.vla.backbone`."""

    views: int = 2
    widths: tuple[int, int, int] = (24, 48, 48)
    features: int = 128

    def __post_init__(self) -> None:
        check_sizes(self, views=(1, 16), widths=(1, 4096), features=(1, MOST_UNITS))


class Reader(Protocol):
    """Pictures and a sentence -> what a backbone reads; what it wrote -> a sentence."""

    def prompt(self, frames: Sequence[NDArray[np.uint8]], sentence: str) -> Prompt:
        """(H, W, 3) uint8 of every camera, and a sentence. MessageError where the sentence cannot be obeyed."""

    def said(self, ids: Sequence[int]) -> str:
        """The words of an answer."""


@dataclass(frozen=True, slots=True)
class TinyReader:
    """The tiny backbone's: a placeholder for every visual token, then the words."""

    words: Words
    image_token: int
    tokens: int

    def prompt(self, frames: Sequence[NDArray[np.uint8]], sentence: str) -> Prompt:
        """One row."""
        row = torch.tensor([[self.image_token] * (len(frames) * self.tokens) + self.words.obey(sentence)])
        return Prompt(row, torch.ones_like(row), {"pixel_values": pixels(np.stack(frames))})

    def said(self, ids: Sequence[int]) -> str:
        """The words up to the end of the answer."""
        return self.words.decode(ids)


@dataclass(frozen=True, slots=True)
class TinyBackbone:
    """A LLaVA of ViT (or keypoint networks), projector and small decoder, trained on two cores.

    vocabulary: ids of words, of 256 action tokens, and of the image; image_size, patch: pixels.
    early_convolutions: see `networks.vla.backbone`; patch is then a power of two.
    """

    vocabulary: int = 640
    image_size: int = 64
    patch: int = 16
    dim: int = 128
    depth: int = 3
    heads: int = 4
    mlp_ratio: int = 2
    early_convolutions: bool = True
    keypoints: KeypointTowerConfig | None = None
    kind: Literal["tiny"] = "tiny"

    def __post_init__(self) -> None:
        check_sizes(
            self,
            vocabulary=(1, MOST_WORDS),
            image_size=(1, 8192),
            patch=(1, 8192),
            dim=(1, MOST_UNITS),
            depth=(1, MOST_LAYERS),
            heads=(1, MOST_HEADS),
            mlp_ratio=(1, 64),
        )
        if self.room < 1:
            raise ConfigError(f"backbone.vocabulary must be > {BINS + RESERVED + 1}, got {self.vocabulary}")
        if self.image_size % self.patch or self.dim % self.heads:
            raise ConfigError("backbone: image_size must be a multiple of patch, and dim one of heads")
        if self.early_convolutions and self.patch & (self.patch - 1):
            raise ConfigError(f"backbone.patch is {self.patch}; early convolutions need a power of two")

    @property
    def room(self) -> int:
        """Ids left for words."""
        return self.vocabulary - IMAGE_TOKENS - RESERVED - BINS

    @property
    def tokens(self) -> int:
        """Visual tokens of an image."""
        return 1 if self.keypoints else (self.image_size // self.patch) ** 2

    def side(self, folder: Path) -> int:
        """Pixels along a side of the pictures that it sees."""
        return self.image_size

    def check(self, cameras: int) -> None:
        """ConfigError where it does not fit as many cameras."""
        if self.keypoints and self.keypoints.views != cameras:
            raise ConfigError(f"backbone.keypoints.views is {self.keypoints.views}, but contract.cameras are {cameras}")

    def tokens_of(self, backbone: Backbone) -> ActionTokens:
        """The words that stand for numbers."""
        return ActionTokens(self.vocabulary, special=IMAGE_TOKENS)

    def reader(self, folder: Path, backbone: Backbone) -> Reader:
        """What turns pictures and sentences into prompts."""
        return TinyReader(load_words(folder, self.room), self.vocabulary - IMAGE_TOKENS, self.tokens)

    def build(self, folder: Path) -> Backbone:
        """The network, with random weights."""
        keypoints = self.keypoints
        config = tiny_config(
            self.vocabulary,
            self.image_size,
            self.patch,
            self.dim,
            self.depth,
            self.heads,
            self.mlp_ratio,
            features=keypoints.features if keypoints else 0,
        )
        tower = KeypointTower(keypoints.views, keypoints.widths, keypoints.features) if keypoints else None
        return Backbone("tiny", tiny_model(config, self.early_convolutions, tower))


BackboneConfig = TinyBackbone | KosmosBackbone | LibraryBackbone


def check_inside(folder: Path, backbone: BackboneConfig) -> None:
    """ModelError where a model folder's config names a backbone outside of it, by `..`, from the root or by a link."""
    named = getattr(backbone, "folder", "")
    if Path(named).is_absolute() or not (folder / named).resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{folder / 'config.yaml'}: backbone.folder must lie in the model folder, got '{named}'")


def pixels(frames: NDArray[np.uint8]) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) in [-1, 1], as the ViT wants them."""
    return torch.from_numpy(frames).movedim(-1, -3).float() / 127.5 - 1
