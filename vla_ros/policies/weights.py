"""Weights from safetensors, complete and finite, or a refusal by name. Nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vla_ros.core.errors import ModelError

FILE = "model.safetensors"


def some(names: set[str]) -> str:
    """The first few of many names."""
    shown = sorted(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_weights(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """ModelError unless `weights`, of the file `path`, are all of the module's, of its shapes, and finite."""
    wanted = module.state_dict()
    if missing := set(wanted) - set(weights):
        raise ModelError(f"{path}: lacks {len(missing)} of {len(wanted)} weights: {some(missing)}")
    if extra := set(weights) - set(wanted):
        raise ModelError(f"{path}: holds {len(extra)} weights that the network does not have: {some(extra)}")
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            raise ModelError(
                f"{path}: {name} has shape {tuple(value.shape)}; the config asks for {tuple(wanted[name].shape)}"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ModelError(f"{path}: {name} holds values that are not finite")


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill `module` from a safetensors file; missing, extra, misshapen or non-finite entries raise ModelError."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file; a model folder holds its weights in {FILE}")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: truncated or not a safetensors file: {error}") from None
    check_weights(module, weights, path)
    module.load_state_dict(weights)


def save_weights(module: nn.Module, path: Path) -> None:
    """Write every parameter and buffer of `module` to a safetensors file, tied ones under each of their names."""
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}, path)
