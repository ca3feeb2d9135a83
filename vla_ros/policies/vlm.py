"""A vision-language model that sees and speaks: a model folder of kind `vlm`, and the voice of one of kind `vla`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import nn

from vla_ros.core.config import read_yaml
from vla_ros.core.contract import PolicyContract, check_observation
from vla_ros.core.types import Observation
from vla_ros.networks.vla.backbone import Backbone, Prompt
from vla_ros.policies.backbones.tiny import BackboneConfig, Reader, check_inside
from vla_ros.policies.weights import FILE as WEIGHTS
from vla_ros.policies.weights import build_to_hold, load_weights

MAX_ANSWER = 12  # words


@dataclass(frozen=True, slots=True)
class VLMFolder:
    """`config.yaml` of a model folder of kind `vlm`: what a policy can be fine-tuned from, and what answers questions.

    provenance: free text for people, not read by the code.
    """

    kind: Literal["vlm"]
    contract: PolicyContract
    backbone: BackboneConfig
    provenance: dict[str, Any] = field(default_factory=dict)

    def build(self, folder: Path = Path()) -> nn.ModuleDict:
        """The network, with random weights, named as in a policy."""
        return nn.ModuleDict({"backbone": self.backbone.build(folder)})


class Speaker:
    """Reads frames and sentences; answers questions about the newest frames, and those of a moment before."""

    def __init__(self, contract: PolicyContract, backbone: Backbone, reader: Reader) -> None:
        self.contract, self.reader, self._backbone = contract, reader, backbone
        self._device = next(backbone.parameters()).device

    def read(self, sentence: str, *observations: Observation) -> Prompt:
        """The frames of each observation in turn, then the sentence. MessageError or ContractError if one misfits."""
        frames = []
        for observation in observations:
            check_observation(self.contract, observation)
            frames += [observation.images[camera.name][-1] for camera in self.contract.cameras]
        return self.reader.prompt(frames, sentence).to(self._device)

    def answer(self, observation: Observation, question: str, before: Observation | None = None) -> str:
        """What the model says about the newest frames; empty where it has nothing to say. Errors as of `read`.

        before: an earlier moment, for questions about what has changed since.
        """
        moments = [observation] if before is None else [before, observation]
        return self.reader.said(self._backbone.generate(self.read(question, *moments), MAX_ANSWER)[0].tolist())


class SpeakingModel(Speaker):
    """A model folder of kind `vlm`, loaded. It has no `infer`: a policy node refuses it by name."""

    def __init__(self, folder: VLMFolder, model: nn.ModuleDict, reader: Reader) -> None:
        backbone = model["backbone"]
        if not isinstance(backbone, Backbone):
            raise TypeError(f"a speaking model has a backbone; this is a {type(backbone).__name__}")
        super().__init__(folder.contract, backbone, reader)
        self.folder, self.model = folder, model.eval().requires_grad_(False)


def load(folder: Path, device: str) -> SpeakingModel:
    """Read a model folder of kind `vlm`; ConfigError or ModelError says what is wrong with it."""
    config = read_yaml(folder / "config.yaml", VLMFolder)
    check_inside(folder, config.backbone)
    model = build_to_hold(folder / WEIGHTS, lambda: config.build(folder))
    load_weights(model, folder / WEIGHTS)
    backbone = model["backbone"]
    return SpeakingModel(config, model.to(device), config.backbone.reader(folder, backbone))  # type: ignore[arg-type]
