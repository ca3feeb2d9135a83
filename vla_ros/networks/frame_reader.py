"""What future frames show as a whole, one token a frame, beside the tokens of their patches.

A patch is one product with the latents, and a small transformer hardly learns to tell from such patches where an arm
is to the hundredth of a radian; a few convolutions do, when they are taught to (`training/frame_reader.py`).
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

COARSEST = 4  # latents along a side of the grid that the convolutions end in, or fewer


def _conv(dim_in: int, dim_out: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(dim_in, dim_out, 3, stride, padding=1), nn.SiLU()]


class FrameReader(nn.Module):
    """Convolutions for each view over a future frame's latents, noisy or clean, and those of the present frame."""

    def __init__(self, views: int, channels: int, latent_size: int, width: int, dim: int) -> None:
        super().__init__()
        halvings, side = 0, latent_size
        while side > COARSEST:
            halvings, side = halvings + 1, (side + 1) // 2
        self.views = nn.ModuleList(
            nn.Sequential(
                *_conv(2 * channels, width),
                *(layer for _ in range(halvings) for layer in [*_conv(width, width, stride=2), *_conv(width, width)]),
            )
            for _ in range(views)
        )
        self.join = nn.Sequential(nn.Linear(views * width * side**2, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, dim))

    def forward(self, frames: Tensor, current: Tensor) -> Tensor:
        """(B, V, C, T, h, w), (B, V, C, h, w) -> (B, T, dim)."""
        batch, times = len(frames), frames.shape[3]
        now = current[:, :, :, None].expand_as(frames)
        pair = rearrange(torch.cat([frames, now], dim=2), "b v c t h w -> v (b t) c h w")
        seen = [view(latents).flatten(1) for view, latents in zip(self.views, pair, strict=True)]
        joined: Tensor = self.join(torch.cat(seen, dim=1))
        return joined.unflatten(0, (batch, times))
