"""Linear layers laid out once for the matrix multiplication that they will serve: what `torch.compile` calls freezing.

On a CPU every call of `F.linear` rearranges the weight for the cache; for the few hundred rows of a diffusion
transformer that is a sixth of the time. MKL and oneDNN take a weight rearranged beforehand. Elsewhere `F.linear` it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Linear = Callable[[Tensor], Tensor]


def packed(weight: Tensor, bias: Tensor, rows: int) -> Linear:
    """x (..., I) -> (..., O) for a weight (O, I); inputs of other than `rows` rows in all work, slower."""
    if weight.device.type == "cpu" and not weight.requires_grad:
        if weight.dtype == torch.float32 and torch.backends.mkl.is_available():
            return _mkl(weight, bias, rows)
        if weight.dtype == torch.bfloat16 and torch.backends.mkldnn.is_available():
            return _onednn(weight, bias, rows)
    return lambda x: F.linear(x, weight, bias)


def _mkl(weight: Tensor, bias: Tensor, rows: int) -> Linear:
    layout = torch.ops.mkl._mkl_reorder_linear_weight(weight, rows)
    return lambda x: torch.ops.mkl._mkl_linear(x, layout, weight, bias, x.numel() // x.shape[-1])


def _onednn(weight: Tensor, bias: Tensor, rows: int) -> Linear:
    layout = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, layout, bias, "none", [], "")
