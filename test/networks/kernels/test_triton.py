"""The Triton kernels compute what torch's operations do: on a GPU, or, with TRITON_INTERPRET=1, without one."""

from __future__ import annotations

import os

import pytest
import torch

from vla_ros.networks.kernels import blocks as kernels

pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu" and not os.environ.get("TRITON_INTERPRET"):
    pytest.skip("no CUDA GPU", allow_module_level=True)

from vla_ros.networks.kernels import triton as fused  # noqa: E402

EPS = 1e-6
SIZES = [(1, 138, 768, 12), (3, 20, 160, 5), (2, 17, 32, 2)]  # rows, tokens, width, heads; the first as published
HALF = torch.bfloat16 if DEVICE == "cuda" else torch.float16  # whose products Triton's interpreter can compute
DTYPES = {torch.float32: 1e-5, torch.bfloat16: 2e-2}  # and what rounding may make of it


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape).to(DEVICE, dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES.items())
@pytest.mark.parametrize("adds", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_residual_norm(size, adds, dtype, tolerance):
    torch.manual_seed(0)
    rows, tokens, dim, _ = size
    x, branch = drawn(rows, tokens, dim), drawn(rows, tokens, dim, dtype=dtype) if adds else None
    gate, scale, shift = drawn(rows, 7 * dim).split(dim, dim=-1)[2:5]  # as a block gets them: slices
    given = (x, branch, gate if adds else None, scale, shift, EPS, dtype)
    for wanted, got in zip(kernels.residual_norm(*given), fused.residual_norm(*given), strict=True):
        assert got.dtype == wanted.dtype
        assert torch.allclose(wanted.float(), got.float(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("size", SIZES)
def test_attention(size):
    torch.manual_seed(0)
    rows, tokens, dim, heads = size
    qkv = drawn(rows, tokens, 3 * dim, dtype=HALF)
    wanted, got = kernels.attention(qkv.float(), heads), fused.attention(qkv, heads)
    assert torch.allclose(wanted, got.float(), rtol=2e-2, atol=1e-2)


def test_other_inputs_have_other_answers():
    """That the tolerances above tell something."""
    torch.manual_seed(0)
    qkv = drawn(1, 20, 480, dtype=HALF)
    assert not torch.allclose(fused.attention(qkv, 5), fused.attention(qkv.flip(1), 5), rtol=2e-2, atol=1e-2)
