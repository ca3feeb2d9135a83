"""Weights of the published RoboVLMs checkpoints `kosmos_ph_*.pt` by their names (Robot-VLAs/RoboVLMs)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from vla_ros.core.errors import ModelError
from vla_ros.networks.vla import ContinuousVLA
from vla_ros.policies.torch_file import StoredTensor, TorchFile
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
            raise ModelError(
                f"{checkpoint}: holds no {' or '.join(HOLDERS)}; right would be a published kosmos_ph file"
            )
        weights = {}
        for name, value in stored.items():
            ours = our_name(str(name))
            if ours is None:
                continue
            if not isinstance(value, StoredTensor):
                raise ModelError(f"{checkpoint}: {name} is no tensor")
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
