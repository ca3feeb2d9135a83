"""From a model folder to a policy.

A policy kind is one module with `load(folder, device)`: ours are named here, others come from entry points of the group
`vla_ros.policies`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar, cast

import torch

from vla_ros.core.abilities import Policy, Speaks, WorldModel, is_world_model
from vla_ros.core.config import load_yaml
from vla_ros.core.contract import check_contract
from vla_ros.core.errors import ConfigError
from vla_ros.core.plugins import load_plugin
from vla_ros.policies.model_folder import ModelFolder, find_model

__all__ = [
    "KINDS",
    "check_contract",
    "find_model",
    "load_as",
    "load_model",
    "load_policy",
    "load_speaker",
    "load_world_model",
]

T = TypeVar("T")
KINDS = {"uwm": "vla_ros.policies.uwm", "vla": "vla_ros.policies.vla", "vlm": "vla_ros.policies.vlm"}


def load_policy(folder: Path | str, *, threads: int | None = None, device: str = "cpu") -> Policy:
    """Load the policy that a model folder holds. Raises ConfigError for a model that only speaks; see `load_model`."""
    model = load_model(folder, threads=threads, device=device)
    if not isinstance(model, Policy):
        raise ConfigError(f"model '{folder}' speaks but does not act; use one of kind uwm or vla")
    return model


def load_as(folder: Path | str, kind: type[T], *, threads: int | None = None, device: str = "cpu") -> T:
    """Load a model of one class of ours. Raises ConfigError for any other; see `load_model`."""
    model = load_model(folder, threads=threads, device=device)
    if not isinstance(model, kind):
        raise ConfigError(f"model '{folder}' is a {type(model).__name__}; a {kind.__name__} is needed here")
    return model


def load_world_model(folder: Path | str, *, threads: int | None = None, device: str = "cpu") -> WorldModel:
    """Load a model that imagines and explains. Raises ConfigError for one that does not; see `load_model`."""
    model = load_model(folder, threads=threads, device=device)
    if not is_world_model(model):
        raise ConfigError(f"model '{folder}' does not imagine; use one of kind uwm")
    return cast(WorldModel, model)


def load_speaker(folder: Path | str, *, threads: int | None = None, device: str = "cpu") -> Speaks:
    """Load a model that answers questions. Raises ConfigError for one that does not; see `load_model`."""
    model = load_model(folder, threads=threads, device=device)
    if not isinstance(model, Speaks):
        raise ConfigError(f"model '{folder}' acts but does not speak; use one of kind vla or vlm")
    return model


def load_model(folder: Path | str, *, threads: int | None = None, device: str = "cpu") -> Policy | Speaks:
    """Load what a model folder holds: a policy, or a model that only speaks.

    threads: CPU threads for torch; beside a simulator or on a robot's computer, few are better.
    Raises ConfigError or ModelError: missing files, unknown keys, wrong shapes, values that are not finite.
    """
    if threads:
        torch.set_num_threads(threads)
    folder = ModelFolder.read(folder).path
    config = load_yaml(folder / "config.yaml")
    kind = config.get("kind") if isinstance(config, dict) else None
    try:
        module = load_plugin("vla_ros.policies", kind if isinstance(kind, str) else repr(kind)[:80], KINDS)
    except ConfigError as error:
        raise ConfigError(f"{folder / 'config.yaml'}: kind {error}") from error
    try:
        torch.device(device)
    except RuntimeError:
        raise ConfigError(f"device must be cpu or cuda:N, got '{device}', which torch does not know") from None
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device is '{device}', but torch sees no CUDA device here; use 'cpu'")
    model: Policy | Speaks = module.load(folder, device)
    return model
