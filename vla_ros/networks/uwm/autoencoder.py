"""Future frames live in the latent space of a KL autoencoder (diffusers' `AutoencoderKL`), normalised per channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from vla_ros.networks.sizes import check_sizes


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """Sizes of the autoencoder; every entry of `channels` after the first halves the resolution.

    attention: a self-attention layer at the lowest resolution.
    """

    channels: tuple[int, ...] = (16, 32, 48)
    latent_channels: int = 4
    layers_per_block: int = 1
    norm_groups: int = 8
    attention: bool = False

    def __post_init__(self) -> None:
        check_sizes(
            self, channels=(1, 8192), latent_channels=(1, 1024), layers_per_block=(1, 16), norm_groups=(1, 1024)
        )
        if not 1 <= len(self.channels) <= 8:
            raise ValueError(f"channels must have 1 to 8 entries, got {len(self.channels)}")
        if odd := [width for width in self.channels if width % self.norm_groups]:
            raise ValueError(f"channels must be multiples of norm_groups, {self.norm_groups}, got {odd[0]}")

    @property
    def downsampling(self) -> int:
        """Pixels per latent along a side."""
        return 2 ** (len(self.channels) - 1)


# Stable Diffusion XL's, which the published Unified World Models use frozen.
SDXL = AutoencoderConfig((128, 256, 512, 512), layers_per_block=2, norm_groups=32, attention=True)


class LatentAutoencoder(nn.Module):
    """Frames in [0, 1] <-> latents of about unit variance."""

    shift: Tensor
    scale: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        blocks = len(config.channels)
        self.config = config
        self.vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * blocks,
            up_block_types=("UpDecoderBlock2D",) * blocks,
            block_out_channels=config.channels,
            layers_per_block=config.layers_per_block,
            latent_channels=config.latent_channels,
            norm_num_groups=config.norm_groups,
            mid_block_add_attention=config.attention,
        )
        self.register_buffer("shift", torch.zeros(1, config.latent_channels, 1, 1))
        self.register_buffer("scale", torch.ones(1, config.latent_channels, 1, 1))

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) in [0, 1] -> mean and log-variance, each (B, C, h, w), before normalisation."""
        distribution = self.vae.encode(frames * 2 - 1).latent_dist
        return distribution.mean, distribution.logvar

    def encode(self, frames: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, C, h, w), the posterior's mean, normalised."""
        return (self.posterior(frames)[0] - self.shift) / self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) normalised -> (B, 3, H, W), clamped to [0, 1]."""
        frames = self.vae.decode(latents * self.scale + self.shift).sample
        return ((frames + 1) / 2).clamp(0, 1)
