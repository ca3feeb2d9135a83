"""The parts of a diffusion transformer: timestep embedding, attention, MLP, and blocks modulated by a condition.

Peebles and Xie, "Scalable Diffusion Models with Transformers" (arXiv 2212.09748), section 3.2, adaLN-Zero;
parameter names follow the official Unified World Models code, so that its checkpoints load by name.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sinusoidal_embedding(timesteps: Tensor, dim: int) -> Tensor:
    """(B,) integer timesteps -> (B, dim) of sin and cos at frequencies 10000^(-i / (dim/2 - 1))."""
    half = dim // 2
    exponents = torch.arange(half, device=timesteps.device, dtype=torch.float32) / (half - 1)
    angles = timesteps.float()[:, None] * torch.exp(-math.log(10000.0) * exponents)  # (B, dim/2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class TimestepEmbedding(nn.Module):
    """Two independent timesteps (action, future) in one vector: UWM section 3, `t_a` and `t_o'`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.proj = nn.Sequential(nn.Linear(2 * dim, 4 * dim), nn.Mish(), nn.Linear(4 * dim, dim))

    def forward(self, action_t: Tensor, next_obs_t: Tensor) -> Tensor:
        """Two (B,) timesteps -> (B, dim)."""
        pair = torch.cat([sinusoidal_embedding(t, self.dim) for t in (action_t, next_obs_t)], dim=-1)  # (B, 2 dim)
        return self.proj(pair)


class Attention(nn.Module):
    """Bidirectional multi-head self-attention with a packed qkv projection."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        if self.training and x.device.type == "cpu":
            # The fused kernel's backward is more than twice as slow as this on CPU for short sequences.
            weights = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1)
            mixed = weights @ v  # (B, heads, N, D/heads)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))


class Mlp(nn.Module):
    """Two layers with an exact GELU between them."""

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, int(dim * ratio))
        self.fc2 = nn.Linear(int(dim * ratio), dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(F.gelu(self.fc1(x)))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift (B, N, D) by one (B, D) vector each."""
    return x * (1 + scale[:, None]) + shift[:, None]


class AdaLNBlock(nn.Module):
    """A pre-norm transformer block whose norms and gates follow the condition (adaLN-Zero)."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float, condition_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.mlp = Mlp(dim, mlp_ratio)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(condition_dim, 6 * dim))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, N, D), (B, C) -> (B, N, D)."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(condition).chunk(6, dim=-1)
        x = x + gate_a[:, None] * self.attn(modulate(self.norm1(x), shift_a, scale_a))
        return x + gate_m[:, None] * self.mlp(modulate(self.norm2(x), shift_m, scale_m))


class AdaLNHead(nn.Module):
    """The last norm and projection, modulated like the blocks."""

    def __init__(self, dim: int, condition_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(dim, dim)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(condition_dim, 2 * dim))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, N, D), (B, C) -> (B, N, D)."""
        shift, scale = self.adaLN_modulation(condition).chunk(2, dim=-1)
        return self.linear(modulate(self.norm(x), shift, scale))
