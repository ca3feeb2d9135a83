"""Observation encoders of the Unified World Model: images, joint states and a sentence in one vector.

Two of them, chosen by the type of their configuration: small keypoint networks with a sentence (tabletop preset), and
the published ResNet-18, whose joint states and language are optional (`libero` and `droid` presets).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vla_ros.networks.resnet import ResNet18
from vla_ros.networks.sizes import MOST_TOKENS, MOST_UNITS, MOST_WORDS, check_sizes
from vla_ros.networks.uwm.autoencoder import AutoencoderConfig, LatentAutoencoder
from vla_ros.networks.uwm.text import TextEncoder
from vla_ros.networks.vision import KeypointResNet, resize_and_crop

CLIP_TEXT_FEATURES = 512


@dataclass(frozen=True, slots=True)
class KeypointEncoderConfig:
    """One small network a camera, fused with joint states under a sentence. Sees one frame of any size as it is."""

    state_dim: int = 7
    widths: tuple[int, int, int] = (24, 48, 48)
    image_features: int = 128
    obs_features: int = 256
    text_buckets: int = 4096
    text_length: int = 256
    text_dim: int = 64
    kind: Literal["keypoints"] = "keypoints"

    def __post_init__(self) -> None:
        check_sizes(
            self,
            state_dim=(0, 256),
            widths=(1, 4096),
            image_features=(1, MOST_UNITS),
            obs_features=(1, MOST_UNITS),
            text_buckets=(1, MOST_WORDS),
            text_length=(1, MOST_TOKENS),
            text_dim=(1, MOST_UNITS),
        )

    @property
    def frames(self) -> int:
        """Frames of history."""
        return 1

    def features(self, views: int) -> int:
        """Length of the observation vector."""
        return self.obs_features


@dataclass(frozen=True, slots=True)
class ResNetEncoderConfig:
    """The published encoder: one ResNet-18 for all cameras and frames.

    frames: T. resize, crop: (height, width); images are resized, then cropped in the middle.
    state_dim: joint states that are appended for each frame; 0 for none. language: append CLIP text features.
    """

    image_features: int = 768
    frames: int = 2
    resize: tuple[int, int] = (240, 240)
    crop: tuple[int, int] = (224, 224)
    state_dim: int = 0
    language: bool = False
    kind: Literal["resnet18"] = "resnet18"

    def __post_init__(self) -> None:
        check_sizes(
            self, image_features=(1, MOST_UNITS), frames=(1, 64), resize=(1, 8192), crop=(1, 8192), state_dim=(0, 256)
        )

    def features(self, views: int) -> int:
        """Length of the observation vector."""
        text = self.image_features if self.language else 0
        return views * self.frames * self.image_features + self.frames * self.state_dim + text


EncoderConfig = KeypointEncoderConfig | ResNetEncoderConfig


class ConditionedResidual(nn.Module):
    """A residual MLP whose hidden units are scaled and shifted by a sentence (FiLM, arXiv 1709.07871)."""

    def __init__(self, dim: int, text_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 2 * dim)
        self.film = nn.Linear(text_dim, 4 * dim)
        self.fc2 = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """(B, D), (B, text) -> (B, D)."""
        scale, shift = self.film(text).chunk(2, dim=-1)
        return x + self.fc2(F.silu(self.fc1(self.norm(x)) * (1 + scale) + shift))


class KeypointObservationEncoder(nn.Module):
    """The tabletop's. The image part does not see the sentence, so one image serves many sentences in training."""

    def __init__(self, config: KeypointEncoderConfig, views: int, autoencoder: AutoencoderConfig) -> None:
        super().__init__()
        self.img_encoder = nn.ModuleList(KeypointResNet(config.widths, config.image_features) for _ in range(views))
        self.text_encoder = TextEncoder(config.text_buckets, config.text_dim)
        self.fuse_in = nn.Linear(views * config.image_features + config.state_dim, config.obs_features)
        self.fuse = nn.ModuleList(ConditionedResidual(config.obs_features, config.text_dim) for _ in range(3))
        self.vae = LatentAutoencoder(autoencoder)

    def prepare(self, images: Tensor) -> Tensor:
        """Images as the network and the autoencoder see them: here, as they are."""
        return images

    def see(self, images: Tensor) -> Tensor:
        """(B, V, 1, 3, H, W) in [0, 1] -> (B, V * features)."""
        views = [encoder(images[:, v, 0]) for v, encoder in enumerate(self.img_encoder)]
        return torch.cat(views, dim=-1)

    def forward(self, visual: Tensor, state: Tensor, tokens: Tensor) -> Tensor:
        """(B, V * features) from `see`, (B, 1, D) normalised joints, (B, L) token ids -> (B, obs_features)."""
        text = self.text_encoder(tokens)
        x = self.fuse_in(torch.cat([visual, state.flatten(1)], dim=-1))
        for block in self.fuse:
            x = block(x, text)
        return x


class ImageEncoder(nn.Module):
    """One ResNet for every view and frame; a module of its own for the sake of the official parameter names."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.model = ResNet18(features)

    def forward(self, images: Tensor) -> Tensor:
        """(B, V, T, 3, H, W) in [0, 1] -> (B, V * T * features)."""
        return rearrange(self.model(images.flatten(0, 2)), "(b n) f -> b (n f)", b=len(images))


class ClipTextEncoder(nn.Module):
    """CLIP's text features and a learned projection. Untrained until weights are loaded; nothing is downloaded."""

    def __init__(self, features: int) -> None:
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection  # heavy, and only wanted with language

        super().__init__()
        config = CLIPTextConfig(projection_dim=CLIP_TEXT_FEATURES)  # the defaults are ViT-B/32's
        self.language_model = CLIPTextModelWithProjection(config).requires_grad_(False)
        self.head = nn.Linear(CLIP_TEXT_FEATURES, features)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L) CLIP token ids -> (B, features). Attention is causal, so padding after the end changes nothing."""
        return self.head(self.language_model(input_ids=tokens).text_embeds)


class ResNetObservationEncoder(nn.Module):
    """The published one."""

    def __init__(self, config: ResNetEncoderConfig, views: int, autoencoder: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.img_encoder = ImageEncoder(config.image_features)
        if config.language:
            self.text_encoder = ClipTextEncoder(config.image_features)
        self.vae = LatentAutoencoder(autoencoder)

    def prepare(self, images: Tensor) -> Tensor:
        """(..., 3, H, W) in [0, 1] -> (..., 3, h, w), resized and cropped in the middle."""
        return resize_and_crop(images, self.config.resize, self.config.crop)

    def see(self, images: Tensor) -> Tensor:
        """(B, V, T, 3, H, W) in [0, 1] -> (B, V * T * features)."""
        return self.img_encoder(self.prepare(images))

    def forward(self, visual: Tensor, state: Tensor | None = None, tokens: Tensor | None = None) -> Tensor:
        """(B, V * T * features) from `see`, (B, T, D) joints, (B, L) CLIP token ids -> (B, F)."""
        parts = [visual]
        if self.config.state_dim:
            if state is None:
                raise ValueError("this model sees joint states; pass `state`")
            parts.append(state.flatten(1))
        if self.config.language:
            if tokens is None:
                raise ValueError("this model sees an instruction; pass `tokens`")
            parts.append(self.text_encoder(tokens))
        return torch.cat(parts, dim=-1)


def observation_encoder(
    config: EncoderConfig, views: int, autoencoder: AutoencoderConfig
) -> KeypointObservationEncoder | ResNetObservationEncoder:
    """The encoder that a configuration describes."""
    if isinstance(config, KeypointEncoderConfig):
        return KeypointObservationEncoder(config, views, autoencoder)
    return ResNetObservationEncoder(config, views, autoencoder)
