"""From a model folder to a policy. A policy kind is one module with `load(folder, device)`, named here."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch

from vla_ros.core.config import load_yaml
from vla_ros.core.contract import check_contract
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.policies.model_folder import ModelFolder, find_model

__all__ = ["KINDS", "check_contract", "find_model", "load_model", "load_policy"]

KINDS = {"uwm": "vla_ros.policies.uwm", "vla": "vla_ros.policies.vla", "vlm": "vla_ros.policies.vlm"}


def load_policy(folder: Path | str, *, threads: int | None = None, device: str = "cpu") -> Any:
    """Load the policy that a model folder holds; it is a `core.types.Policy` with a `contract`. See `load_model`."""
    model = load_model(folder, threads=threads, device=device)
    if not hasattr(model, "infer"):
        raise ConfigError(f"model '{folder}' speaks but does not act; right would be one of kind uwm or vla")
    return model


def load_model(folder: Path | str, *, threads: int | None = None, device: str = "cpu") -> Any:
    """Load what a model folder holds: a policy, or a model that only speaks.

    threads: CPU threads for torch; beside a simulator or on a robot's computer, few are better.
    Raises ConfigError or ModelError: missing files, unknown keys, wrong shapes, values that are not finite.
    """
    if threads:
        torch.set_num_threads(threads)
    folder = ModelFolder.read(folder).path
    config = load_yaml(folder / "config.yaml")
    kind = config.get("kind") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        hint = did_you_mean(kind if isinstance(kind, str) else "", KINDS)
        raise ConfigError(f"{folder / 'config.yaml'}: kind is {repr(kind)[:80]}{hint}")
    try:
        torch.device(device)
    except RuntimeError:
        raise ConfigError(f"device is '{device}', which torch does not know; right would be cpu or cuda:0") from None
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device is '{device}', but torch sees no CUDA device here; right would be 'cpu'")
    return importlib.import_module(KINDS[kind]).load(folder, device)
