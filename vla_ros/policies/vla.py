"""A vision-language model as a policy: a model folder of kind `vla`, in any of the four published formulations."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vla_ros.core.config import read_yaml
from vla_ros.core.contract import PolicyContract
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.types import ActionChunk, Observation
from vla_ros.networks.vla.backbone import Backbone, Prompt
from vla_ros.networks.vla.formulations import ContinuousVLA, DiscreteVLA, VLAStream
from vla_ros.networks.vla.policy_head import Actions, HeadConfig, HeadKind
from vla_ros.policies.backbones.prompts import one_behind_another
from vla_ros.policies.backbones.tiny import BackboneConfig, Reader, TinyBackbone, check_inside
from vla_ros.policies.statistics import Statistics, statistics_for
from vla_ros.policies.vlm import Speaker
from vla_ros.policies.weights import FILE as WEIGHTS
from vla_ros.policies.weights import build_to_hold, load_weights

VLAFormulation = Literal["one_step", "discrete", "interleaved", "policy_head"]
MAX_GAP = 3  # times the usual time between two chunks; after more, what was before is another story


@dataclass(frozen=True, slots=True)
class HeadSizes:
    """What a policy head is free to be; see `networks.vla.policy_head`."""

    kind: HeadKind = "lstm"
    hidden_size: int = 256
    num_layers: int = 1
    heads: int = 4


@dataclass(frozen=True, slots=True)
class VLAFolder:
    """`config.yaml` of a model folder of kind `vla`.

    window: steps of history that an answer rests on, the present one included.
    example: a sentence that the model can obey. gripper: the joint that only opens and closes, and which end is open.
    state: whether it is told where the joints are. provenance: free text for people, not read by the code.
    """

    kind: Literal["vla"]
    contract: PolicyContract
    formulation: VLAFormulation
    backbone: BackboneConfig
    head: HeadSizes
    window: int
    example: str
    gripper: str
    opens: Literal["low", "high"] = "low"
    state: bool = True
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.contract.history != 1:
            raise ConfigError(f"contract.history must be 1 (the policy remembers), got {self.contract.history}")
        if self.gripper not in self.contract.joints:
            raise ConfigError(f"gripper '{self.gripper}'{did_you_mean(self.gripper, self.contract.joints)}")
        kinds = dict(zip(self.contract.joints, self.contract.kinds, strict=False))  # an older folder has none
        if kinds.get(self.gripper, "gripper") != "gripper":
            raise ConfigError(f"gripper: contract.kinds says that '{self.gripper}' is {kinds[self.gripper]}")
        self.backbone.check(len(self.contract.cameras))
        if isinstance(self.backbone, TinyBackbone):
            side = self.backbone.image_size
            for camera in self.contract.cameras:
                if (camera.height, camera.width) != (side, side):
                    raise ConfigError(
                        f"camera '{camera.name}' is {camera.width}x{camera.height}; "
                        f"backbone.image_size says {side}x{side}"
                    )
        if self.window < 1 or (self.formulation in ("one_step", "discrete") and self.window != 1):
            raise ConfigError(f"window must be 1 for '{self.formulation}', got {self.window}")
        try:
            self.head_config(2)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def head_config(self, features: int) -> HeadConfig:
        """The head, whose input is the backbone's feature and whose output is the contract's chunk."""
        head, contract = self.head, self.contract
        return HeadConfig(
            features,
            len(contract.joints),
            contract.horizon,
            self.window,
            head.kind,
            head.hidden_size,
            head.num_layers,
            head.heads,
        )

    def build(self, folder: Path = Path()) -> ContinuousVLA | DiscreteVLA:
        """The network, with random weights; ConfigError where formulation and head do not go together.

        folder: the model folder, where a library's backbone has its config.
        """
        return self.around(self.backbone.build(folder))

    def around(self, backbone: Backbone) -> ContinuousVLA | DiscreteVLA:
        """The network of a backbone that is there already; what it needs beside has random weights."""
        joints = len(self.contract.joints)
        if self.formulation == "discrete":
            return DiscreteVLA(backbone, self.backbone.tokens_of(backbone), self.contract.horizon * joints)
        try:
            told = len(self.contract.state_names) if self.state else 0
            return ContinuousVLA(backbone, self.head_config(backbone.dim), self.formulation, told)
        except ValueError as error:
            raise ConfigError(str(error)) from None


def joined(actions: Actions, gripper: NDArray[np.bool_], opens: str = "low") -> NDArray[np.float32]:
    """Pose and gripper in the columns of the contract: (..., A) in [-1, 1]; the gripper is at one of its ends."""
    pose, up = actions.pose.cpu().numpy(), (actions.gripper_logit.cpu().numpy() > 0) == (opens == "high")
    both = np.empty((*pose.shape[:-1], len(gripper)), np.float32)
    both[..., ~gripper], both[..., gripper] = pose, np.where(up, 1, -1)
    return both


class VLAPolicy:
    """Looks, listens and remembers: the features of past images are kept, not computed again."""

    def __init__(
        self, folder: VLAFolder, model: ContinuousVLA | DiscreteVLA, statistics: Statistics, reader: Reader
    ) -> None:
        self.contract = folder.contract
        self.folder = folder
        self.model = model.eval().requires_grad_(False)
        self.statistics = statistics
        self.speaker = Speaker(folder.contract, model.backbone, reader)
        self.example = folder.example
        self._device = next(model.parameters()).device
        self._gripper = np.array([name == folder.gripper for name in self.contract.joints])
        remembers = isinstance(model, ContinuousVLA) and folder.formulation != "interleaved"
        self._stream = VLAStream(model) if isinstance(model, ContinuousVLA) and remembers else None
        self.reset()

    def reset(self) -> None:
        """Forget the history."""
        if self._stream is not None:
            self._stream.reset()
        self._prompts: list[Prompt] = []
        self._told, self._stamp_ns = "", 0

    def infer(self, observation: Observation) -> ActionChunk:
        """The chunk for what is seen now and was seen before. ContractError or MessageError where it does not fit."""
        prompt = self.prompt(observation)
        self._forget_if_new(observation)
        actions = self._act(prompt)
        self._told, self._stamp_ns = observation.instruction, observation.stamp_ns
        restored = self.statistics.restore_action(actions, observation.state[-1])
        start_ns = observation.stamp_ns + self.contract.step_ns
        return ActionChunk(observation.stamp_ns, start_ns, self.contract.step_ns, restored, self.contract.joints)

    def answer(self, observation: Observation, question: str, before: Observation | None = None) -> str:
        """What the model says about the newest frames, or about what has changed since `before`; see `Speaker`."""
        return self.speaker.answer(observation, question, before)

    def prompt(self, observation: Observation) -> Prompt:
        """What the model reads of an observation: images, words, and where the joints are."""
        prompt = self.speaker.read(observation.instruction, observation)
        if not (self.folder.state and isinstance(self.model, ContinuousVLA)):
            return prompt
        state = self.statistics.normalise_state(observation.state[-1:])
        return self.model.told(prompt, torch.from_numpy(state).to(self._device))

    def _forget_if_new(self, observation: Observation) -> None:
        """A history is of one instruction, and without a gap that it was not trained with."""
        usual_ns = self.contract.execute_steps * self.contract.step_ns
        since_ns = observation.stamp_ns - self._stamp_ns
        if observation.instruction != self._told or not 0 < since_ns <= MAX_GAP * usual_ns:
            self.reset()

    @torch.no_grad()
    def _act(self, prompt: Prompt) -> NDArray[np.float32]:
        """(H, A), normalised."""
        if isinstance(self.model, DiscreteVLA):
            written: NDArray[np.float32] = self.model.act(prompt).view(self.contract.horizon, -1).cpu().numpy()
            return written
        if self._stream is not None:
            actions = self._stream.push(prompt)
        else:
            self._prompts = [*self._prompts, prompt][-self.folder.window :]
            actions = self.model(one_behind_another(self._prompts), len(self._prompts)).newest()
        newest: NDArray[np.float32] = joined(actions, self._gripper, self.folder.opens)[0]
        return newest


def load(folder: Path, device: str) -> VLAPolicy:
    """Read a model folder of kind `vla`; ConfigError or ModelError says what is wrong with it."""
    config = read_yaml(folder / "config.yaml", VLAFolder)
    check_inside(folder, config.backbone)
    model = build_to_hold(folder / WEIGHTS, lambda: config.build(folder))
    load_weights(model, folder / WEIGHTS)
    statistics = statistics_for(folder, config.contract)
    reader = config.backbone.reader(folder, model.backbone)
    return VLAPolicy(config, model.to(device), statistics, reader)
