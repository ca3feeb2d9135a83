"""Image encoders.

`KeypointResNet` is the small one of the tabletop preset: residual convolutions without normalisation layers (which
cost more than the convolutions on a CPU), then a spatial softmax that turns each channel into the place where it
fires (Levine et al., arXiv 1504.00702, section 4.1): what a reaching policy needs, in few numbers.

`VisionTransformer` is the ViT (Dosovitskiy et al., arXiv 2010.11929) in its five parts: patches, positions, attention,
MLP, head. Its norms come before attention and MLP, with one more before the head. Parameter names are those of timm.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vla_ros.networks.layers import Attention, Mlp


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


@dataclass(frozen=True, slots=True)
class ViTConfig:
    """Sizes of a ViT; the defaults are ViT-B/16. classes: outputs of the head, 0 for none."""

    image_size: int = 224
    patch: int = 16
    dim: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    classes: int = 0
    norm_eps: float = 1e-6  # timm's; transformers has 1e-12

    def __post_init__(self) -> None:
        if self.image_size % self.patch:
            raise ValueError(f"image_size must be a multiple of the patch, {self.patch}, got {self.image_size}")
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of {self.heads} heads, got {self.dim}")


class PatchEmbedding(nn.Module):
    """Part 1: square patches, each through the same linear map (a convolution that never overlaps)."""

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / patch * W / patch, D), row by row."""
        return self.proj(images).flatten(2).transpose(1, 2)


def resized_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Part 2: learned positions (1, 1 + N, D) of a square grid -> (1, 1 + h w, D); the class token's stays as it is."""
    side = round((positions.shape[1] - 1) ** 0.5)
    if grid == (side, side):
        return positions
    plane = positions[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)  # (1, D, side, side)
    plane = F.interpolate(plane, grid, mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], plane.flatten(2).transpose(1, 2)], dim=1)


class ViTBlock(nn.Module):
    """Parts 3 and 4: attention between the patches, then an MLP on each, both on top of what was there."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.attn = Attention(config.dim, config.heads)
        self.norm2 = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mlp = Mlp(config.dim, config.mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Images -> a token for each patch behind a class token; part 5, the head, reads the class token."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbedding(config.patch, config.dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + (config.image_size // config.patch) ** 2, config.dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList(ViTBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.head = nn.Linear(config.dim, config.classes) if config.classes else nn.Identity()

    def tokens(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), normalised -> (B, 1 + N, D); positions are interpolated where the size is not the trained."""
        grid = (images.shape[-2] // self.config.patch, images.shape[-1] // self.config.patch)
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), self.patch_embed(images)], dim=1)
        x = x + resized_positions(self.pos_embed, grid)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), normalised -> (B, classes), or (B, D) where there is no head."""
        return self.head(self.tokens(images)[:, 0])
