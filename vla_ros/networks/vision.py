"""Image encoders.

`KeypointResNet` is the small one of the tabletop preset: residual convolutions without normalisation layers (which
cost more than the convolutions on a CPU), then a spatial softmax that turns each channel into the place where it
fires (Levine et al., arXiv 1504.00702, section 4.1): what a reaching policy needs, in few numbers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def resize_and_crop(images: Tensor, size: tuple[int, int], crop: tuple[int, int]) -> Tensor:
    """(..., 3, H, W) in [0, 1] -> (..., 3, *crop): resized to `size` (bilinear, antialiased), then its middle."""
    lead, (height, width) = images.shape[:-3], crop
    if tuple(images.shape[-2:]) != tuple(size):
        flat = F.interpolate(images.flatten(0, -4), size, mode="bilinear", antialias=True)
        images = flat.view(*lead, *flat.shape[1:])
    # As torchvision's center_crop rounds.
    top, left = round((size[0] - height) / 2), round((size[1] - width) / 2)
    return images[..., top : top + height, left : left + width]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a (projected) shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1)
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        return F.relu(self.shortcut(x) + self.conv2(F.relu(self.conv1(x))))


class SpatialSoftmax(nn.Module):
    """Each channel's expected position under a softmax over the plane, and how strongly it fires there."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 3 C): x and y in [-1, 1], mean activation under the softmax."""
        height, width = x.shape[-2:]
        logits = x.flatten(2).float()  # (B, C, HW)
        weights = torch.softmax(logits * self.log_temperature.exp()[:, None], dim=-1)
        ys = torch.linspace(-1, 1, height, device=x.device).repeat_interleave(width)
        xs = torch.linspace(-1, 1, width, device=x.device).repeat(height)
        grid = torch.stack([xs, ys], dim=-1)  # (HW, 2)
        places = weights @ grid  # (B, C, 2)
        strength = (weights * logits).sum(-1)  # (B, C)
        return torch.cat([places.flatten(1), strength], dim=-1)


class KeypointResNet(nn.Module):
    """64x64 image -> `features` numbers by way of keypoints."""

    def __init__(self, widths: tuple[int, int, int], features: int) -> None:
        super().__init__()
        stem, middle, last = widths
        self.stem = nn.Conv2d(3, stem, 5, 2, 2)
        self.block1 = ResidualBlock(stem, middle, stride=2)
        self.block2 = ResidualBlock(middle, last, stride=1)
        self.keypoints = SpatialSoftmax(last)
        self.fc = nn.Linear(3 * last, features)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, features)."""
        x = F.relu(self.stem(images * 2 - 1))  # (B, stem, H/2, W/2)
        x = self.block2(self.block1(x))  # (B, last, H/4, W/4)
        return self.fc(self.keypoints(x))
