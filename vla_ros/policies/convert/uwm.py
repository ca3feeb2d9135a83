"""Official checkpoints of the Unified World Models (github.com/WEIRDLabUW/unified-world-model) as model folders.

Their `models.pt` holds the weights under names that are ours too, the optimizer, and two normalisers. What they keep in
code, we write into the folder: cameras, time base, and the scale of the SDXL autoencoder's latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.core.contract import CameraContract, PolicyContract
from vla_ros.core.errors import ConfigError, ModelError, did_you_mean
from vla_ros.networks.uwm.config import PRESETS, UWMConfig
from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.policies.convert.torch_file import Attributes, DictAttributes, PickledArray, StoredTensor, TorchFile
from vla_ros.policies.model_folder import ModelFolder, write_files
from vla_ros.policies.statistics import Statistics
from vla_ros.policies.uwm import UWMFolder
from vla_ros.policies.weights import check_weights

NORMALISERS: dict[str, type] = {
    "datasets.utils.normalizer.LinearNormalizer": Attributes,
    "datasets.utils.normalizer.NestedDictLinearNormalizer": DictAttributes,
}
SDXL_SCALE = 0.13025  # the official code multiplies the autoencoder's latents by it, then applies shift and scale


@dataclass(frozen=True, slots=True)
class Embodiment:
    """What the official code knows of a preset's robot and data, outside the checkpoint."""

    cameras: tuple[CameraContract, ...]
    actions: tuple[str, ...]
    step_s: float
    execute_steps: int


EMBODIMENTS = {
    "libero": Embodiment(
        (CameraContract("agentview_rgb", 128, 128), CameraContract("eye_in_hand_rgb", 128, 128)),
        ("delta_x", "delta_y", "delta_z", "delta_roll", "delta_pitch", "delta_yaw", "gripper"),
        step_s=0.05,
        execute_steps=16,
    ),
    "droid": Embodiment(
        tuple(
            CameraContract(name, 320, 180)
            for name in ("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left")
        ),
        ("velocity_x", "velocity_y", "velocity_z", *(f"rotation_{i}" for i in range(6)), "gripper"),
        step_s=0.1,
        execute_steps=8,
    ),
}
FUTURE_STEPS = (16, 17)  # of 19 frames the second is now, then 16 actions, and the last two are predicted
SAMPLING_STEPS = 10


def convert_uwm(checkpoint: Path, preset: str, out: Path) -> UWMFolder:
    """Write the model folder `out` from an official checkpoint; nothing is left behind where that fails.

    Raises ConfigError for a preset that is not known or a folder that exists, ModelError for a file that holds anything
    but weights and normalisers, or weights that are not the preset's.
    """
    if preset not in EMBODIMENTS:
        raise ConfigError(f"--preset '{preset}'{did_you_mean(preset, EMBODIMENTS)}")
    if out.exists():
        raise ConfigError(f"{out}: already exists; name a new folder")
    with TorchFile(checkpoint, NORMALISERS) as file:
        if not isinstance(file.content, Mapping) or not isinstance(file.content.get("model"), Mapping):
            raise ModelError(f"{checkpoint}: holds no 'model' with weights; give the official models.pt")
        weights = _weights(file, file.content["model"])
        network = _network(checkpoint, preset, weights)
        statistics = _statistics(checkpoint, preset, network, file.content.get("action_normalizer"))
        step = _step(file.content.get("step"))
    model = UnifiedWorldModel(network)
    _in_our_scale(weights)
    check_weights(model, weights, checkpoint)
    model.load_state_dict(weights)
    folder = _folder(preset, network, {"checkpoint": checkpoint.name, "preset": preset, "step": step})
    _write(out, folder, model, statistics)
    return folder


def _step(said: Any) -> int | None:
    """The training step, where the file says a plausible one."""
    return said if type(said) is int and 0 <= said < 1 << 62 else None


def _weights(file: TorchFile, stored: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights by name, without the `module.` of a model that was saved inside its data parallel wrapper."""
    if wrong := [name for name in stored if not isinstance(name, str)]:
        raise ModelError(f"{file.path}: the name of a weight is of type {type(wrong[0]).__name__}; it must be text")
    if wrong := [name for name, value in stored.items() if not isinstance(value, StoredTensor)]:
        raise ModelError(f"{file.path}: model.{wrong[0][:80]} is no tensor")
    wrapped = all(name.startswith("module.") for name in stored)
    return {name.removeprefix("module.") if wrapped else name: file.tensor(value) for name, value in stored.items()}


def _network(checkpoint: Path, preset: str, weights: dict[str, Tensor]) -> UWMConfig:
    """The preset, with as many registers as the weights have: the official releases differ in them."""
    registers = weights.get("noise_pred_net.registers")
    if registers is None or registers.ndim != 3:
        raise ModelError(f"{checkpoint}: lacks noise_pred_net.registers; it is no Unified World Model")
    try:
        return replace(PRESETS[preset], registers=registers.shape[1])
    except ValueError as error:
        raise ModelError(f"{checkpoint}: {error}") from None


def _in_our_scale(weights: dict[str, Tensor]) -> None:
    """Our autoencoder normalises its own latents, not those times `SDXL_SCALE`."""
    for name in ("obs_encoder.vae.shift", "obs_encoder.vae.scale"):
        if name in weights:
            weights[name] = weights[name] / SDXL_SCALE


def _statistics(checkpoint: Path, preset: str, network: UWMConfig, normaliser: Any) -> Statistics:
    """The checkpoint's `(x - offset) / scale` of the actions; LIBERO's are not normalised."""
    joints = EMBODIMENTS[preset].actions
    offset, scale = np.zeros(len(joints), np.float32), np.ones(len(joints), np.float32)
    if normaliser is not None:
        offset, scale = (_attribute(checkpoint, normaliser, name, len(joints)) for name in ("offset", "scale"))
    rows = (network.action_len, 1)
    unknown = (np.zeros(len(joints), np.float32), np.ones(len(joints), np.float32))  # these models see no states
    relative = np.zeros(len(joints), np.bool_)
    return Statistics(joints, relative, *unknown, np.tile(offset, rows), np.tile(scale, rows))


def _attribute(checkpoint: Path, normaliser: Any, name: str, size: int) -> NDArray[np.float32]:
    found = vars(normaliser).get(name) if isinstance(normaliser, Attributes) else None
    if not isinstance(found, PickledArray) or found.value.size != size:
        raise ModelError(f"{checkpoint}: action_normalizer.{name} is no array of {size} numbers, one an action")
    values = found.value.reshape(-1).astype(np.float32)
    if not np.isfinite(values).all() or (name == "scale" and (values <= 0).any()):
        raise ModelError(f"{checkpoint}: action_normalizer.{name} is not finite, or not positive: {values.tolist()}")
    return values


def _folder(preset: str, network: UWMConfig, provenance: dict[str, Any]) -> UWMFolder:
    robot = EMBODIMENTS[preset]
    contract = PolicyContract(
        robot.cameras,
        robot.actions,
        robot.step_s,
        network.action_len,
        robot.execute_steps,
        history=network.encoder.frames,
    )
    return UWMFolder("uwm", contract, network, FUTURE_STEPS, SAMPLING_STEPS, provenance=provenance)


def _write(out: Path, folder: UWMFolder, model: UnifiedWorldModel, statistics: Statistics) -> None:
    """All of the folder, or none of it."""
    with ModelFolder.writing(out) as part:
        write_files(part, folder, model, statistics, card=_card(out.name, folder))


def _card(name: str, folder: UWMFolder) -> str:
    made, contract = folder.provenance, folder.contract
    cameras = ", ".join(f"{c.name} {c.width}x{c.height}" for c in contract.cameras)
    actions = ", ".join(contract.joints)
    return f"""# {name}

A Unified World Model (arXiv 2504.02792), converted from the official `{made["checkpoint"]}` by
`vla-ros convert uwm --preset {made["preset"]}` (training step {made["step"]}).

- In: cameras {cameras}, upright (LIBERO's own files are upside down); {contract.history} frames of each.
- Out: {contract.horizon} actions, {contract.step_s} s apart: {actions}.
  They move the tool, not joints: a robot that takes joint positions refuses this folder.
- Not measured here: this card knows no success rate.
"""
