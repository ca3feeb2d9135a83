"""What of a fast transformer block is no matrix product: in torch's operations, or fused where a GPU has Triton."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Kernels:
    """`residual_norm` and `attention`, with the signatures of those below."""

    residual_norm: Callable[..., tuple[Tensor, Tensor]]
    attention: Callable[[Tensor, int], Tensor]


def residual_norm(
    x: Tensor, branch: Tensor | None, gate: Tensor | None, scale: Tensor, shift: Tensor, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return x + gate * branch, and its layer norm times scale plus shift, as `dtype`.

    x (B, N, D) float32; branch (B, N, D) or None; gate, scale and shift (B, D), float32, slices of one matrix.
    """
    if branch is not None and gate is not None:
        x = torch.addcmul(x, gate[:, None], branch.float())
    dim = x.shape[-1:]
    if len(x) == 1:  # in one operation
        return x, F.layer_norm(x, dim, scale[0], shift[0], eps).to(dtype)
    return x, torch.addcmul(shift[:, None], F.layer_norm(x, dim, eps=eps), scale[:, None]).to(dtype)


def attention(qkv: Tensor, heads: int) -> Tensor:
    """Softmax attention of all tokens to all: packed (B, N, 3 D) -> (B, N, D)."""
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, N, D / heads)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def choose(device: torch.device, dtype: torch.dtype, tokens: int, width: int) -> Kernels:
    """The fastest that a device has for heads of `width` over `tokens`."""
    if device.type != "cuda" or find_spec("triton") is None:
        return Kernels(residual_norm, attention)
    from vla_ros.networks.kernels import triton as fused  # needs Triton

    # Triton multiplies float32 on tensor cores, in fewer digits, or slowly; torch's is exact.
    short = dtype == torch.bfloat16 and tokens <= fused.MOST_TOKENS and width in (16, 32, 64, 128)
    return Kernels(fused.residual_norm, fused.attention if short else attention)
