"""Linear layers laid out once for the matrix multiplication that they will serve: what `torch.compile` calls freezing.

On a CPU every call of `F.linear` rearranges the weight for the cache; for the few hundred rows of a diffusion
transformer that is a sixth of the time. MKL and oneDNN take a weight rearranged beforehand. On a GPU cuBLAS wants sizes
that are multiples of 8: the seven joints of an arm cost it five times what eight would.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Linear = Callable[[Tensor], Tensor]


def packed(weight: Tensor, bias: Tensor, rows: int, gelu: bool = False) -> Linear:
    """Return x (..., I) -> (..., O) for a weight (O, I); inputs of other than `rows` rows in all work, slower.

    gelu: of the result; where oneDNN multiplies, and in bfloat16 on a GPU (there by tanh, closer to the exact one than
    bfloat16 can tell), as part of the product, which saves a pass over the result.
    """
    if weight.device.type == "cpu" and not weight.requires_grad:
        onednn = torch.backends.mkldnn.is_available()
        if onednn and (weight.dtype == torch.bfloat16 or (gelu and weight.dtype == torch.float32)):
            return _onednn(weight, bias, rows, gelu)
        if weight.dtype == torch.float32 and torch.backends.mkl.is_available():
            return _then(_mkl(weight, bias, rows), gelu)
    if weight.device.type == "cuda":
        return _cublas(weight, bias, gelu)
    return _then(lambda x: F.linear(x, weight, bias), gelu)


def _cublas(weight: Tensor, bias: Tensor, gelu: bool) -> Linear:
    outputs, inputs = weight.shape
    padding = (0, -inputs % 8, 0, -outputs % 8)
    weight, bias = F.pad(weight, padding), F.pad(bias, padding[2:])

    def multiply(x: Tensor) -> Tensor:
        x = F.pad(x, padding[:2]) if padding[1] else x
        if gelu and weight.dtype == torch.bfloat16:
            product = torch._addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=True)
            return product.unflatten(0, x.shape[:-1])[..., :outputs]
        return F.linear(x, weight, bias)[..., :outputs]

    return multiply if gelu and weight.dtype == torch.bfloat16 else _then(multiply, gelu)


def _then(linear: Linear, gelu: bool) -> Linear:
    return (lambda x: F.gelu(linear(x))) if gelu else linear


def _mkl(weight: Tensor, bias: Tensor, rows: int) -> Linear:
    layout = torch.ops.mkl._mkl_reorder_linear_weight(weight, rows)
    return lambda x: torch.ops.mkl._mkl_linear(x, layout, weight, bias, x.numel() // x.shape[-1])


def _onednn(weight: Tensor, bias: Tensor, rows: int, gelu: bool) -> Linear:
    layout = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    after, kind = ("gelu", "none") if gelu else ("none", "")  # "none": with erf, not the approximation by tanh
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, layout, bias, after, [], kind)
