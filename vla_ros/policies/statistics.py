"""Normalisation statistics of a trained model: part of its folder, checked against its joints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.config import parse
from vla_ros.core.contract import PolicyContract
from vla_ros.core.errors import ConfigError, ModelError
from vla_ros.core.files import write_whole
from vla_ros.core.strict_json import load_json

FILE = "statistics.json"


@dataclass(frozen=True, slots=True)
class Statistics:
    """Means and standard deviations of states and actions.

    joints: the A joints that the actions' columns belong to.
    relative: (A,) bool; where True, actions are differences from the current position, elsewhere absolute.
    state_mean, state_std: (D,). action_mean, action_std: (H, A), one row for each step of the chunk. D = A unless the
    states' columns are others than the joints; then no column is relative.
    """

    joints: tuple[str, ...]
    relative: NDArray[np.bool_]
    state_mean: NDArray[np.float32]
    state_std: NDArray[np.float32]
    action_mean: NDArray[np.float32]
    action_std: NDArray[np.float32]

    def normalise_state(self, state: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., D) positions -> (..., D) of about unit variance."""
        return (state - self.state_mean) / self.state_std

    def normalise_action(self, action: NDArray[np.float32], state: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., H, D) absolute targets and (..., D) current positions -> (..., H, D) of about unit variance."""
        return (action - self._origin(state) - self.action_mean) / self.action_std

    def restore_action(self, action: NDArray[np.float32], state: NDArray[np.float32]) -> NDArray[np.float32]:
        """The inverse of `normalise_action`."""
        restored: NDArray[np.float32] = action * self.action_std + self.action_mean + self._origin(state)
        return restored

    def _origin(self, state: NDArray[np.float32]) -> NDArray[np.float32]:
        if state.shape[-1] != len(self.relative):
            return np.zeros((1, len(self.relative)), np.float32)  # of other columns: nothing is relative to them
        return np.where(self.relative, state, np.float32(0))[..., None, :]

    def save(self, folder: Path) -> None:
        """Write `statistics.json` into a model folder."""
        content = {
            "joints": list(self.joints),
            "relative": self.relative.tolist(),
            "state": {"mean": self.state_mean.tolist(), "std": self.state_std.tolist()},
            "action": {"mean": self.action_mean.tolist(), "std": self.action_std.tolist()},
        }
        write_whole(folder / FILE, json.dumps(content, indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class _Columns:
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Steps:
    mean: tuple[tuple[float, ...], ...]
    std: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class _Held:
    """The file as it is: read as strictly as YAML, so that no text or number is taken for true."""

    joints: tuple[str, ...]
    relative: tuple[bool, ...]
    state: _Columns
    action: _Steps


def _numbers(values: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what does not fit is found to be infinite
        return np.asarray(values, dtype=np.float32)


def _table(path: Path, name: str, rows: tuple[tuple[float, ...], ...]) -> NDArray[np.float32]:
    if len({len(row) for row in rows}) > 1:
        raise ModelError(f"{path}: action.{name} has rows of different lengths")
    return _numbers(rows)


def load_statistics(folder: Path, joints: tuple[str, ...], horizon: int, states: int | None = None) -> Statistics:
    """Read and check a model folder's statistics; ModelError says what does not fit.

    states: D, where the states' columns are others than the joints.
    """
    path = folder / FILE
    if not path.is_file():
        raise ModelError(f"{path}: no such file; a model folder without its normalisation statistics cannot be used")
    try:
        held = parse(load_json(path), _Held, str(path))
    except (ValueError, OSError, ConfigError) as error:
        said = str(error).removeprefix(f"{path}: ")
        raise ModelError(f"{path}: damaged or incomplete: {said}") from None
    names, relative = held.joints, np.asarray(held.relative, dtype=np.bool_)
    parts = {
        "state mean": _numbers(held.state.mean),
        "state std": _numbers(held.state.std),
        "action mean": _table(path, "mean", held.action.mean),
        "action std": _table(path, "std", held.action.std),
    }
    if names != joints:
        raise ModelError(f"{path}: statistics are for the joints {', '.join(names)}; the model has {', '.join(joints)}")
    for name, values in parts.items():
        shape = (horizon, len(joints)) if name.startswith("action") else (states or len(joints),)
        if values.shape != shape:
            raise ModelError(f"{path}: {name} must have shape {shape}, got {values.shape}")
        if not np.isfinite(values).all() or (name.endswith("std") and (values <= 0).any()):
            raise ModelError(f"{path}: {name} holds values that are not finite, or a deviation that is not positive")
    if relative.shape != (len(joints),):
        raise ModelError(f"{path}: relative must have {len(joints)} entries, got {relative.size}")
    if relative.any() and states not in (None, len(joints)):
        raise ModelError(f"{path}: relative must be all false where the states' columns are not the joints")
    return Statistics(names, relative, *(parts[f"{g} {k}"] for g in ("state", "action") for k in ("mean", "std")))


def statistics_for(folder: Path, contract: PolicyContract) -> Statistics:
    """Those of a model folder with this contract; ModelError says what does not fit."""
    found = load_statistics(folder, contract.joints, contract.horizon, len(contract.state_names))
    grippers = contract.is_gripper
    if grippers is not None and (wrong := np.flatnonzero(found.relative & grippers)).size:
        raise ModelError(f"{folder / FILE}: '{contract.joints[wrong[0]]}' is a gripper; relative must be false for it")
    return found
