"""What given future frames show as a whole, in the observation's vector: for the actions that lead to them.

A patch is one product with the latents, and a small transformer hardly learns to tell from such patches where an arm
is to the hundredth of a radian; a few convolutions do, when they are taught to (`training/uwm/frame_reader.py`). As the
present is, the given future is told to every block by the vector that modulates it.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

COARSEST = 4  # latents along a side of the grid that the convolutions end in, or fewer


def _layers(dim_in: int, hidden: int, dim_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim_in, hidden), nn.SiLU(), nn.Linear(hidden, dim_out))


def _conv(dim_in: int, dim_out: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(dim_in, dim_out, 3, stride, padding=1), nn.SiLU()]


class FrameReader(nn.Module):
    """Convolutions for each view over a future frame and the present one; then what all frames add to the observation.

    That begins at zero: put into a trained model, a reader changes nothing until it is trained there.
    width: channels of the convolutions.
    """

    def __init__(
        self, views: int, channels: int, latent_size: int, width: int, frames: int, dim: int, obs: int
    ) -> None:
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
        self.join = _layers(views * width * side**2, 2 * dim, dim)
        self.fuse = nn.Sequential(nn.Linear(frames * dim + obs, 4 * dim), nn.SiLU(), *_layers(4 * dim, 4 * dim, obs))
        for parameter in self.fuse[4].parameters():
            nn.init.zeros_(parameter)

    def read(self, frames: Tensor, current: Tensor) -> Tensor:
        """(B, V, C, T, h, w), (B, V, C, h, w) -> (B, T, dim), what each frame shows."""
        batch, times = len(frames), frames.shape[3]
        now = current[:, :, :, None].expand_as(frames)
        pair = rearrange(torch.cat([frames, now], dim=2), "b v c t h w -> v (b t) c h w")
        seen = [view(latents).flatten(1) for view, latents in zip(self.views, pair, strict=True)]
        joined: Tensor = self.join(torch.cat(seen, dim=1))
        return joined.unflatten(0, (batch, times))

    def forward(self, obs: Tensor, frames: Tensor, current: Tensor) -> Tensor:
        """(B, F), the observation's vector, and as `read` -> (B, F), the same with what the frames show."""
        added: Tensor = self.fuse(torch.cat([self.read(frames, current).flatten(1), obs], dim=1))
        return obs + added
