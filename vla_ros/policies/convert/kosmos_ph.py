"""Weights of the published RoboVLMs checkpoints `kosmos_ph_*.pt` by their names (Robot-VLAs/RoboVLMs)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from vla_ros.core.contract import CameraContract, PolicyContract
from vla_ros.core.errors import ConfigError, ModelError, did_you_mean
from vla_ros.networks.vla.formulations import ContinuousVLA
from vla_ros.policies.backbones.kosmos import KosmosBackbone
from vla_ros.policies.backbones.saved import copy_backbone
from vla_ros.policies.convert.torch_file import StoredTensor, TorchFile
from vla_ros.policies.model_folder import ModelFolder, write_files
from vla_ros.policies.statistics import Statistics
from vla_ros.policies.vla import HeadSizes, VLAFolder
from vla_ros.policies.weights import check_weights

HOLDERS = ("state_dict", "model_state_dict")
NAMES = {
    "model.backbone.": "backbone.model.",
    "model.action_token": "backbone.action_token",
    "model.act_head.": "act_head.",
}
# Tables that the library computes for itself, and that its older versions saved.
COMPUTED = (".position_ids", ".embed_positions.weights")
TIED = ("backbone.model.text_model.lm_head.weight", "backbone.model.text_model.model.embed_tokens.weight")
BACKBONE = "backbone"  # folder of Kosmos-2's config and tokenizer in ours
WINDOW = 16
ACTIONS = ("delta_x", "delta_y", "delta_z", "delta_roll", "delta_pitch", "delta_yaw", "gripper")


@dataclass(frozen=True, slots=True)
class Embodiment:
    """What a preset's configuration says of robot and data, outside the checkpoint; `bound` becomes 1."""

    cameras: tuple[CameraContract, ...]
    step_s: float
    bound: float
    example: str

    def statistics(self, horizon: int) -> Statistics:
        """Pose as fixed quantiles, the gripper as it is: 1 open, -1 closed, by the sign of its logit."""
        zeros, ones = np.zeros(7, np.float32), np.ones(7, np.float32)
        half, relative = np.full(7, self.bound, np.float32), np.zeros(7, np.bool_)
        half[6] = 1.0
        rows = (horizon, 1)
        return Statistics(ACTIONS, relative, zeros, ones, np.tile(zeros, rows), np.tile(half, rows))


EMBODIMENTS = {
    "calvin": Embodiment(
        (CameraContract("rgb_gripper", 84, 84), CameraContract("rgb_static", 200, 200)),
        1 / 30,
        0.65,
        "lift the red block from the table",
    ),
}


def our_name(name: str) -> str | None:
    """Where a weight of the checkpoint belongs in a `ContinuousVLA`; None where nothing needs it."""
    name = name.removeprefix("module.")
    if name.endswith(COMPUTED):
        return None
    for theirs, ours in NAMES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return None


def read_kosmos_ph(checkpoint: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint under our names; nothing that it says is run. ModelError where it is none."""
    with TorchFile(checkpoint) as file:
        held = file.content if isinstance(file.content, Mapping) else {}
        stored = next((held[name] for name in HOLDERS if isinstance(held.get(name), Mapping)), None)
        if stored is None:
            raise ModelError(f"{checkpoint}: holds no {' or '.join(HOLDERS)}; give a published kosmos_ph file")
        weights = {}
        for name, value in stored.items():
            if not isinstance(name, str):
                raise ModelError(
                    f"{checkpoint}: the name of a weight is of type {type(name).__name__}; it must be text"
                )
            ours = our_name(name)
            if ours is None:
                continue
            if not isinstance(value, StoredTensor):
                raise ModelError(f"{checkpoint}: {name[:80]} is no tensor")
            weights[ours] = file.tensor(value)
    for name, twin in (TIED, TIED[::-1]):
        if name not in weights and twin in weights:
            weights[name] = weights[twin]
    return weights


def load_kosmos_ph(model: ContinuousVLA, checkpoint: Path) -> None:
    """Fill a Kosmos-2 policy-head model; ModelError names the first weights that lack, are too many or misshapen."""
    weights = read_kosmos_ph(checkpoint)
    check_weights(model, weights, checkpoint)
    model.load_state_dict(weights)


def convert_kosmos_ph(checkpoint: Path, backbone: Path, preset: str, out: Path) -> VLAFolder:
    """Write the model folder `out` from a published checkpoint and a folder of Kosmos-2's config and tokenizer.

    Nothing is left behind where that fails. ConfigError for a preset that is not known, a folder that exists or a
    backbone that is none; ModelError for a file that holds anything but weights, or others than the preset's.
    """
    if preset not in EMBODIMENTS:
        raise ConfigError(f"--preset '{preset}'{did_you_mean(preset, EMBODIMENTS)}")
    if out.exists():
        raise ConfigError(f"{out}: already exists; name a new folder")
    weights = read_kosmos_ph(checkpoint)
    folder = _folder(checkpoint, preset, weights)
    with ModelFolder.writing(out) as part:
        copy_backbone(backbone, part / BACKBONE, "a folder of microsoft/kosmos-2-patch14-224")
        model = folder.build(part)
        check_weights(model, weights, checkpoint)
        model.load_state_dict(weights)
        folder.backbone.reader(part, model.backbone)  # refuses another model's tokenizer
        statistics = EMBODIMENTS[preset].statistics(folder.contract.horizon)
        write_files(part, folder, model, statistics, card=_card(out.name, folder))
    return folder


def _folder(checkpoint: Path, preset: str, weights: Mapping[str, Tensor]) -> VLAFolder:
    """The sizes of the head, as the weights have them."""
    layers = [name for name in weights if name.startswith("act_head.rnn.weight_ih_l")]
    last = weights.get("act_head.gripper.mlp.6.weight")
    if not layers or last is None or weights[layers[0]].ndim != 2:
        raise ModelError(f"{checkpoint}: holds no LSTM head; give a published kosmos_ph file")
    robot = EMBODIMENTS[preset]
    contract = PolicyContract(robot.cameras, ACTIONS, robot.step_s, len(last), execute_steps=1)  # as published
    head = HeadSizes("lstm", weights[layers[0]].shape[0] // 4, len(layers))
    provenance = {"checkpoint": checkpoint.name, "preset": preset}
    return VLAFolder(
        "vla",
        contract,
        "policy_head",
        KosmosBackbone("kosmos2", BACKBONE),
        head,
        WINDOW,
        robot.example,
        "gripper",
        opens="high",
        state=False,
        provenance=provenance,
    )


def _card(name: str, folder: VLAFolder) -> str:
    cameras = ", ".join(f"{camera.name} {camera.width}x{camera.height}" for camera in folder.contract.cameras)
    return f"""# {name}

Kosmos-2 with a policy head (RoboVLMs, arXiv 2412.14058), converted from the published
`{folder.provenance["checkpoint"]}` by `vla-ros convert kosmos_ph --preset {folder.provenance["preset"]}`.

- In: cameras {cameras}; a history of {folder.window} steps is kept inside.
- Out: {folder.contract.horizon} actions, {folder.contract.step_s:.4g} s apart: {", ".join(ACTIONS)}.
  They move the tool, not joints: a robot that takes joint positions refuses this folder.
- Not measured here: this card knows no success rate.
"""
