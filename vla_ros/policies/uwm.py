"""The Unified World Model as a policy and as a world model: a model folder of kind `uwm`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from vla_ros.core.config import read_yaml
from vla_ros.core.contract import PolicyContract, check_observation
from vla_ros.core.errors import ConfigError, ContractError
from vla_ros.core.execution.knots import Knots
from vla_ros.core.types import ActionChunk, Observation, Prediction
from vla_ros.networks.sizes import check_sizes
from vla_ros.networks.uwm.config import Modality, UWMConfig
from vla_ros.networks.uwm.encoders import KeypointEncoderConfig, ResNetEncoderConfig
from vla_ros.networks.uwm.fast_sampler import FastSampler
from vla_ros.networks.uwm.guidance import Prefix, soft_mask
from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.networks.uwm.text import tokenize
from vla_ros.policies.backbones.words import words_of_order
from vla_ros.policies.statistics import Statistics, statistics_for
from vla_ros.policies.weights import FILE as WEIGHTS
from vla_ros.policies.weights import build_to_hold, load_weights

NOISE_SEED = 0
Precision = Literal["float32", "bfloat16"]
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ROUNDING_NS = 1000  # of a step that went through a message, as `ros.convert` forgives it


@dataclass(frozen=True, slots=True)
class UWMFolder:
    """`config.yaml` of a model folder of kind `uwm`.

    sampling_steps: DDIM steps of a chunk; future_steps: the chunk steps whose frames the model predicts.
    precision: of the sampler's matrix products; bfloat16 is for GPUs, and CPUs that multiply it fast.
    provenance: how it was trained and what it reached; free text for people, not read by the code.
    """

    kind: Literal["uwm"]
    contract: PolicyContract
    network: UWMConfig
    future_steps: tuple[int, ...]
    sampling_steps: int = 5
    precision: Precision = "float32"
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_sizes(self, sampling_steps=(1, min(1000, self.network.train_timesteps)))
        check_sizes(self, future_steps=(1, 4096))
        network, contract, encoder = self.network, self.contract, self.network.encoder
        agreements = (
            ("network.views", network.views, "contract.cameras", len(contract.cameras)),
            ("network.action_dim", network.action_dim, "contract.joints", len(contract.joints)),
            (
                "network.encoder.state_dim",
                encoder.state_dim or len(contract.state_names),
                "contract.state or joints",
                len(contract.state_names),
            ),
            ("network.encoder.frames", encoder.frames, "contract.history", contract.history),
            ("network.action_len", network.action_len, "contract.horizon", contract.horizon),
            ("network.future_frames", network.future_frames, "future_steps", len(self.future_steps)),
        )
        for name, value, other, expected in agreements:
            if value != expected:
                raise ConfigError(f"{name} is {value}, but {other} says {expected}; they must agree")
        side = network.latent_size * network.autoencoder.downsampling
        seen = {camera.name: (camera.height, camera.width) for camera in contract.cameras}
        if isinstance(encoder, ResNetEncoderConfig):
            seen = {"network.encoder.crop": encoder.crop}
            if encoder.language:
                raise ConfigError(
                    "network.encoder.language: CLIP's tokenizer is not served by this policy; set it false"
                )
        for name, (height, width) in seen.items():
            if (height, width) != (side, side):
                raise ConfigError(f"'{name}' is {width}x{height}; the network's latents are of {side}x{side} frames")


class UWMPolicy:
    """Plans with p(a|o), imagines with p(o'|o) and p(o'|o,a), explains with p(a|o,o')."""

    _noise: Tensor
    _ignored: Tensor | None

    def __init__(self, folder: UWMFolder, model: UnifiedWorldModel, statistics: Statistics) -> None:
        self.contract = folder.contract
        self.folder = folder
        self.model = model.eval().requires_grad_(False)
        self.statistics = statistics
        self._device = next(model.parameters()).device
        self._dtype = DTYPES[folder.precision]
        self._plan = FastSampler(model, predict=("action",), steps=folder.sampling_steps, dtype=self._dtype)
        self._samplers: dict[tuple[Modality, tuple[Modality, ...], int], FastSampler] = {}
        self._between: Callable[[], None] = lambda: None
        self._hooks: list[RemovableHandle] = []
        self.reset()

    def reset(self) -> None:
        """Start an episode: the same noise serves all of its chunks, so that they agree with each other.

        The future that the policy ignores is noise too, where its tokens are not left out.
        """
        draw = torch.Generator().manual_seed(NOISE_SEED)
        actions = (1, self.contract.horizon, len(self.contract.joints))
        self._noise = torch.randn(actions, generator=draw).to(self._device)
        network, self._ignored = self.folder.network, None
        if not network.drop_ignored_future:
            self._ignored = torch.randn(1, *network.latent_shape, generator=draw).to(self._device)

    def breathe(self, between: Callable[[], None]) -> None:
        """Call `between` between the layers of the networks from now on: on a CPU every few ms, for who shares it.

        The answers stay the same. For one that imagines: `infer` and `propose` breathe in parts only.
        """
        for hook in self._hooks:
            hook.remove()
        layers = [module for module in self.model.modules() if any(True for _ in module.parameters(recurse=False))]
        self._hooks = [layer.register_forward_pre_hook(lambda *_: between()) for layer in layers]
        self._between = between
        self._samplers.clear()

    def propose(
        self, observation: Observation, count: int, plan: ActionChunk | None = None, frozen_steps: int = 0
    ) -> list[ActionChunk]:
        """`count` chunks from p(a|o) beside the one of `infer`, each from noise of its own."""
        prefix = None if plan is None else self._prefix(observation, plan, frozen_steps)
        seen, draw = self._encode(observation), torch.Generator().manual_seed(NOISE_SEED + 1)
        others = [torch.randn(self._noise.shape, generator=draw).to(self._device) for _ in range(count)]
        answers = [self._plan(seen, action=noise, next_obs=self._ignored, prefix=prefix)[0] for noise in others]
        return [self._chunk(observation, actions) for actions in answers]

    def infer(self, observation: Observation) -> ActionChunk:
        """Sample a chunk from p(a|o). Raises ContractError or MessageError if the observation does not fit."""
        return self._sampled(observation, None)

    def continue_plan(self, observation: Observation, plan: ActionChunk, frozen_steps: int) -> ActionChunk:
        """Sample a chunk that begins with the first `frozen_steps` actions of `plan` and is drawn towards the rest.

        See `networks.uwm.guidance`. Raises ContractError if the plan does not cover the frozen steps.
        """
        return self._sampled(observation, self._prefix(observation, plan, frozen_steps))

    def _sampled(self, observation: Observation, prefix: Prefix | None) -> ActionChunk:
        actions, _ = self._plan(self._encode(observation), action=self._noise, next_obs=self._ignored, prefix=prefix)
        return self._chunk(observation, actions)

    def _prefix(self, observation: Observation, plan: ActionChunk, frozen_steps: int) -> Prefix:
        """The plan at the new chunk's due times, as the network has actions."""
        if plan.names != self.contract.joints:
            raise ContractError(f"the plan must move {', '.join(self.contract.joints)}, got {', '.join(plan.names)}")
        knots, horizon = Knots.of(plan), self.contract.horizon
        due_ns = observation.stamp_ns + self.contract.step_ns * np.arange(1, horizon + 1, dtype=np.int64)
        covered = int((due_ns <= knots.last_ns).sum())
        if not 0 <= frozen_steps <= covered:
            raise ContractError(f"frozen_steps is {frozen_steps}; the plan covers {covered} steps of the new chunk")
        actions = np.stack([knots.at(int(t)) for t in due_ns]).astype(np.float32)
        target = torch.from_numpy(self.statistics.normalise_action(actions, observation.state[-1]))
        weights = soft_mask(horizon, frozen_steps, covered).to(self._device)
        return Prefix(target.float().to(self._device)[None], weights)

    def imagine(self, observation: Observation, chunk: ActionChunk | None = None, samples: int = 1) -> Prediction:
        """Predict the frames at `future_steps`: p(o'|o), or p(o'|o,a) where `chunk` says what will be done.

        Of several samples the latents are kept each; the frames are those of their mean.
        """
        return self.show(self.foresee(observation, chunk, samples))

    def foresee(self, observation: Observation, chunk: ActionChunk | None = None, samples: int = 1) -> Prediction:
        """As `imagine`, in latents only: the decoder costs more than half of a prediction."""
        action = None if chunk is None else self._normalised(chunk, observation).expand(samples, -1, -1)
        given: tuple[Modality, ...] = () if chunk is None else ("action",)
        sampler = self._sampler("next_obs", given, samples)
        with torch.no_grad():
            current = self._current(observation).expand(samples, -1, -1, -1, -1)
            seen = self._encode(observation).expand(samples, -1)
            _, future = sampler(seen, action=action, current=current)
        assert future is not None  # mypy: next_obs was predicted
        views = future.permute(1, 0, 3, 2, 4, 5).cpu().numpy()  # (V, K, F, C, h, w)
        due_ns = observation.stamp_ns + self.contract.step_ns * np.asarray(self.folder.future_steps, dtype=np.int64)
        latents = {camera.name: view for camera, view in zip(self.contract.cameras, views, strict=True)}
        return Prediction(observation.stamp_ns, due_ns, {}, latents)

    def show(self, prediction: Prediction) -> Prediction:
        """The same prediction with its frames decoded."""
        means = np.concatenate([samples.mean(axis=0) for samples in prediction.latents.values()])  # (V F, C, h, w)
        with torch.no_grad():
            frames = self.model.obs_encoder.vae.decode(torch.from_numpy(means).to(self._device))
        pixels = (frames * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        views = pixels.reshape(len(prediction.latents), len(self.folder.future_steps), *pixels.shape[1:])
        return replace(prediction, images=dict(zip(prediction.latents, views, strict=True)))

    def explain(self, observation: Observation, future: Observation) -> ActionChunk:
        """Infer the actions p(a|o,o') between `observation` and the last frames of `future`, at `future_steps`."""
        count = len(self.folder.future_steps)
        views = []
        for camera in self.contract.cameras:
            frames = future.images.get(camera.name)
            if frames is None or frames.shape != (count, camera.height, camera.width, 3):
                raise ContractError(
                    f"camera '{camera.name}': the future must hold the frames at steps {self.folder.future_steps}"
                )
            views.append(self._tensor(frames))
        with torch.no_grad():
            current = self._current(observation)
            latents = torch.stack([self.model.latents(view[None])[0].transpose(0, 1) for view in views])[None]
            sampler = self._sampler("action", ("next_obs",), 1)
            actions, _ = sampler(self._encode(observation), action=self._noise, next_obs=latents, current=current)
        return self._chunk(observation, actions)

    def latents(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, H, W, 3) uint8 frames -> (N, C, h, w): as the world model has them, to compare what came with."""
        with torch.no_grad():
            found: NDArray[np.float32] = self.model.latents(self._tensor(frames)[None])[0].cpu().numpy()
        return found

    def _sampler(self, predict: Modality, given: tuple[Modality, ...], batch: int) -> FastSampler:
        """The sampler of one question; made when it is first asked, for a policy node never asks."""
        key = (predict, given, batch)
        if key not in self._samplers:
            self._samplers[key] = FastSampler(
                self.model,
                predict=(predict,),
                given=given,
                steps=self.folder.sampling_steps,
                batch=batch,
                dtype=self._dtype,
                between=self._between,
            )
        return self._samplers[key]

    def _encode(self, observation: Observation) -> Tensor:
        check_observation(self.contract, observation)
        encoder = self.folder.network.encoder
        state, tokens = None, None
        if encoder.state_dim:
            newest = self.statistics.normalise_state(observation.state[-encoder.frames :])
            state = torch.from_numpy(newest).to(self._device)[None]
        if isinstance(encoder, KeypointEncoderConfig):
            words = words_of_order(observation.instruction)
            tokens = torch.tensor([tokenize(words, encoder.text_buckets, encoder.text_length)], device=self._device)
        with torch.no_grad():
            return self.model.encode(self._images(observation, encoder.frames), state, tokens)

    def _images(self, observation: Observation, frames: int) -> Tensor:
        """The newest `frames` of every camera: (1, V, T, 3, H, W)."""
        views = [self._tensor(observation.images[camera.name][-frames:]) for camera in self.contract.cameras]
        return torch.stack(views)[None]

    def _current(self, observation: Observation) -> Tensor:
        return self.model.latents(self._images(observation, 1)[:, :, 0])  # (1, V, C, h, w)

    def _tensor(self, frames: NDArray[np.uint8]) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, 3, H, W) in [0, 1]."""
        return torch.from_numpy(frames).to(self._device).permute(0, 3, 1, 2).float() / 255

    def _normalised(self, chunk: ActionChunk, observation: Observation) -> Tensor:
        if chunk.names != self.contract.joints or len(chunk.actions) != self.contract.horizon:
            raise ContractError(
                f"the chunk must have {self.contract.horizon} steps of {', '.join(self.contract.joints)}, "
                f"got {len(chunk.actions)} of {', '.join(chunk.names)}"
            )
        step_ns = self.contract.step_ns
        if abs(chunk.step_ns - step_ns) > ROUNDING_NS:
            raise ContractError(f"the chunk's step must be {step_ns} ns, the model's own, got {chunk.step_ns}")
        # The observation nearest to a chunk's stamp may lie half a step from it; farther off, frames would be misdated.
        if abs(late_ns := chunk.start_ns - observation.stamp_ns - step_ns) > step_ns // 2 + ROUNDING_NS:
            raise ContractError(
                f"the chunk must start one step, {step_ns} ns, after the observation, got {late_ns + step_ns} ns"
            )
        action = self.statistics.normalise_action(chunk.actions, observation.state[-1])
        return torch.from_numpy(action).to(self._device)[None]

    def _chunk(self, observation: Observation, actions: Tensor) -> ActionChunk:
        restored = self.statistics.restore_action(actions[0].cpu().numpy(), observation.state[-1])
        start_ns = observation.stamp_ns + self.contract.step_ns
        return ActionChunk(observation.stamp_ns, start_ns, self.contract.step_ns, restored, self.contract.joints)


def load(folder: Path, device: str) -> UWMPolicy:
    """Read a model folder of kind `uwm`; ConfigError or ModelError says what is wrong with it."""
    config = read_yaml(folder / "config.yaml", UWMFolder)
    model = build_to_hold(folder / WEIGHTS, lambda: UnifiedWorldModel(config.network))
    load_weights(model, folder / WEIGHTS, DTYPES[config.precision])
    statistics = statistics_for(folder, config.contract)
    return UWMPolicy(config, model.to(device), statistics)
