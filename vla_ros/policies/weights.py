"""Weights from safetensors, complete, finite and of a float type, or a refusal by name. Nothing is ever unpickled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vla_ros.core.errors import ModelError

T = TypeVar("T", bound=nn.Module)
FILE = "model.safetensors"
FLOATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
LARGEST = 1e18  # of a weight: products of two stay finite in float32 and bfloat16
Found = tuple[str, tuple[int, ...]]  # type, as safetensors calls it, and shape


def some(names: set[str]) -> str:
    """The first few of many names."""
    shown = [name if len(name) <= 80 else f"{name[:77]}..." for name in sorted(names)[:3]]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_weights(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """ModelError unless `weights`, of the file `path`, are all of the module's, floats of its shapes, and finite."""
    found = {name: (_type(value), tuple(value.shape)) for name, value in weights.items()}
    check_header(module, found, path)
    check_values(module, weights, path)


def check_header(module: nn.Module, found: Mapping[str, Found], path: Path) -> None:
    """ModelError unless a file's names, types and shapes are the module's, which may be on the meta device."""
    wanted = module.state_dict()
    if missing := set(wanted) - set(found):
        raise ModelError(f"{path}: lacks {len(missing)} of {len(wanted)} weights: {some(missing)}")
    if extra := set(found) - set(wanted):
        raise ModelError(f"{path}: holds {len(extra)} weights that the network does not have: {some(extra)}")
    for name, (kind, shape) in found.items():
        if shape != tuple(wanted[name].shape):
            raise ModelError(f"{path}: {name} has shape {shape}; the config asks for {tuple(wanted[name].shape)}")
        if kind not in FLOATS:
            raise ModelError(f"{path}: {name} holds {kind}; weights must be one of {', '.join(FLOATS)}")


def check_values(
    module: nn.Module, weights: Mapping[str, Tensor], path: Path, computes: torch.dtype | None = None
) -> None:
    """ModelError where a weight is not finite, or will not be in the type that the network holds or `computes` in."""
    wanted = module.state_dict()
    for name, value in weights.items():
        for dtype in {wanted[name].dtype, computes or wanted[name].dtype}:
            largest = _largest(value.to(dtype))
            if not math.isfinite(largest):
                raise ModelError(f"{path}: {name} holds values that are not finite in {_short(dtype)}")
            if largest > LARGEST:
                raise ModelError(f"{path}: {name} holds {largest:.3g}; weights must be at most {LARGEST:g}")


def load_weights(module: nn.Module, path: Path, computes: torch.dtype | None = None) -> None:
    """Fill `module` from a safetensors file; missing, extra, misshapen or non-finite entries raise ModelError.

    computes: the type that the network will compute in, where that is not the one of its weights.
    """
    check_header(module, read_header(path), path)
    try:
        weights = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: truncated or not a safetensors file: {error}") from None
    check_values(module, weights, path, computes)
    module.load_state_dict(weights)


def build_to_hold(path: Path, build: Callable[[], T]) -> T:
    """Build a network once the weights in `path` are known to be its own.

    It is built on the meta device first, where sizes cost no memory: a config that asks for more than the file holds is
    refused with a line. Raises ModelError.
    """
    header = read_header(path)
    try:
        with torch.device("meta"):
            sketch = build()
    except (ValueError, RuntimeError, TypeError, ArithmeticError, LookupError, AssertionError) as error:
        raise ModelError(f"{path.parent}: no network can be built as its config says: {_line(error)}") from None
    check_header(sketch, header, path)
    return build()


def read_header(path: Path) -> dict[str, Found]:
    """Types and shapes of a safetensors file by name, without its numbers."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file; a model folder holds its weights in {FILE}")
    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  it is no dict
            return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: truncated or not a safetensors file: {error}") from None


def save_weights(module: nn.Module, path: Path) -> None:
    """Write every parameter and buffer of `module` to a safetensors file, tied ones under each of their names."""
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}, path)


def _largest(value: Tensor) -> float:
    """The greatest absolute value, NaN where there is one; in one pass, for a backbone has many."""
    if not value.numel():
        return 0.0
    least, most = (float(end) for end in value.aminmax())
    return most if math.isnan(most) else max(-least, most)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _type(value: Tensor) -> str:
    return next((name for name, dtype in FLOATS.items() if dtype == value.dtype), _short(value.dtype))


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
