"""The kernels of `networks.kernels.blocks` for a GPU, in Triton, which comes with torch's CUDA wheels on Linux.

For the few hundred tokens of a chunk not arithmetic takes the time, but how many kernels start behind each other.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_TOKENS = 256  # of `attention`, which holds all keys at once


def residual_norm(
    x: Tensor, branch: Tensor | None, gate: Tensor | None, scale: Tensor, shift: Tensor, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Compute `kernels.residual_norm` on the GPU."""
    batch, tokens, dim = x.shape
    x, total = x.contiguous(), x
    if branch is not None and gate is not None:
        branch, total = branch.contiguous(), torch.empty_like(x)
    normed = torch.empty(x.shape, device=x.device, dtype=dtype)
    _residual_norm[(batch * tokens,)](
        x,
        x if branch is None else branch,
        scale if gate is None else gate,
        scale,
        shift,
        total,
        normed,
        tokens,
        dim,
        scale.stride(0),
        eps,
        ADDS=branch is not None,
        BLOCK=triton.next_power_of_2(dim),
        num_warps=4,
    )
    return total, normed


@triton.jit
def _residual_norm(
    x, branch, gate, scale, shift, total, normed, tokens, dim, stride, eps, ADDS: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0)  # a token
    column = tl.arange(0, BLOCK)
    inside = column < dim
    at, condition = row * dim + column, row // tokens * stride + column
    value = tl.load(x + at, mask=inside, other=0.0)
    if ADDS:
        added = tl.load(branch + at, mask=inside, other=0.0).to(tl.float32)
        value += tl.load(gate + condition, mask=inside, other=0.0) * added
        tl.store(total + at, value, mask=inside)
    centred = tl.where(inside, value - tl.sum(value, 0) / dim, 0.0)
    result = centred * tl.rsqrt(tl.sum(centred * centred, 0) / dim + eps)
    result = result * tl.load(scale + condition, mask=inside, other=0.0)
    result += tl.load(shift + condition, mask=inside, other=0.0)
    tl.store(normed + at, result.to(normed.dtype.element_ty), mask=inside)


def attention(qkv: Tensor, heads: int) -> Tensor:
    """Softmax attention of all tokens to all: packed (B, N, 3 D) -> (B, N, D), for N up to `MOST_TOKENS`."""
    batch, tokens, packed = qkv.shape
    width, rows = packed // 3 // heads, 16
    mixed = torch.empty(batch, tokens, packed // 3, device=qkv.device, dtype=qkv.dtype)
    _attention[(batch * heads, triton.cdiv(tokens, rows))](
        qkv,
        mixed,
        tokens,
        heads,
        width**-0.5,
        KEYS=max(16, triton.next_power_of_2(tokens)),
        ROWS=rows,
        WIDTH=width,
        num_warps=4,
    )
    return mixed


@triton.jit
def _attention(qkv, mixed, tokens, heads, scale, KEYS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    batch, head = tl.program_id(0) // heads, tl.program_id(0) % heads
    row = (tl.program_id(1) * ROWS + tl.arange(0, ROWS))[:, None]
    key, lane, dim = tl.arange(0, KEYS)[:, None], tl.arange(0, WIDTH)[None], heads * WIDTH
    first = qkv + batch * tokens * 3 * dim + head * WIDTH + lane
    q = tl.load(first + row * 3 * dim, mask=row < tokens, other=0.0)  # (ROWS, WIDTH)
    k = tl.load(first + dim + key * 3 * dim, mask=key < tokens, other=0.0)  # (KEYS, WIDTH)
    v = tl.load(first + 2 * dim + key * 3 * dim, mask=key < tokens, other=0.0)
    score = tl.where(tl.trans(key) < tokens, tl.dot(q, tl.trans(k)) * scale, float("-inf"))  # (ROWS, KEYS)
    weight = tl.exp(score - tl.max(score, 1)[:, None])
    result = tl.dot(weight.to(v.dtype), v) / tl.sum(weight, 1)[:, None]
    at = mixed + (batch * tokens + row) * dim + head * WIDTH + lane
    tl.store(at, result.to(mixed.dtype.element_ty), mask=row < tokens)
