"""Batches for the Unified World Model: plans under many sentences, and windows with their future latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.datasets.demonstrations import Demonstrations, labelled
from vla_ros.datasets.wordings import sentences_of
from vla_ros.networks.uwm.autoencoder import LatentAutoencoder
from vla_ros.networks.uwm.encoders import KeypointEncoderConfig
from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.networks.uwm.text import tokenize, words_of
from vla_ros.policies.statistics import Statistics
from vla_ros.training.cache import digest, once
from vla_ros.training.uwm.autoencoder import as_tensor
from vla_ros.training.uwm.config import UWMTraining

MIN_STD = 1e-3  # below this a column is constant, and dividing by its deviation would only amplify rounding


def measure(data: Demonstrations, relative: NDArray[np.bool_]) -> Statistics:
    """Statistics of states and of all plans, actions as differences where `relative`."""
    actions = data.differences(relative)
    joints = tuple(data.meta["joints"])
    rows = (data.state.mean(0), data.state.std(0), actions.mean(0), actions.std(0))
    state_mean, state_std, mean, std = (row.astype(np.float32) for row in rows)
    return Statistics(joints, relative, state_mean, np.maximum(state_std, MIN_STD), mean, np.maximum(std, MIN_STD))


def cached_latents(data: Demonstrations, autoencoder: LatentAutoencoder, folder: Path) -> NDArray[np.float16]:
    """Latents of every frame and camera (N, V, C, h, w), encoded once and kept in `folder`, by weights and data."""

    def encode(rows: slice) -> Tensor:
        return torch.stack([autoencoder.encode(as_tensor(images[rows])) for images in data.images.values()], dim=1)

    return once(folder / f"latents_{digest(data, autoencoder)}.npy", len(data.state), encode, "encoding frames")


def cached_features(data: Demonstrations, model: UnifiedWorldModel, folder: Path) -> NDArray[np.float16]:
    """What frozen image networks see in every frame (N, V * features), computed once and kept in `folder`."""
    path = folder / f"features_{digest(data, model.obs_encoder.img_encoder)}.npy"
    return once(path, len(data.state), lambda rows: model.obs_encoder.see(images_of(data, rows)), "seeing frames")


def images_of(data: Demonstrations, index: slice | NDArray[np.int64]) -> Tensor:
    """(B, V, 1, 3, H, W) in [0, 1]."""
    return torch.stack([as_tensor(images[index]) for images in data.images.values()], dim=1)[:, :, None]


class BatchMaker:
    """Draws batches of frames as the tensors that `UWMLoss` takes; `features` stand for the images where given.

    latents: of every frame; without them only plans can be learned.
    """

    def __init__(
        self,
        config: UWMTraining,
        data: Demonstrations,
        statistics: Statistics,
        latents: NDArray[np.float16] | None,
        features: NDArray[np.float16] | None = None,
    ) -> None:
        self.config, self.data, self.statistics, self.latents = config, data, statistics, latents
        self.features = features
        joint = config.joint
        self.plain_rows = config.loop.batch - (0 if joint is None else joint.rows + joint.video_rows)
        self.sentences = [[words_of(sentence) for sentence in sentences_of(name)] for name in data.meta["tasks"]]
        self.aux_mean = data.aux.mean(0)
        self.aux_std = np.maximum(data.aux.std(0), MIN_STD)
        training, validation = data.split(config.validation_share)
        windows = data.windows(max(*config.future_steps, config.network.action_len))
        self.known = labelled(data, config.labelled_share) | validation
        apart = {"training": training & self.known, "video": training & ~self.known, "validation": validation}
        self.frames = {part: np.flatnonzero(apart[part]) for part in ("training", "validation")}
        self.windows = {part: windows[there[windows]] for part, there in apart.items()}

    def draw(self, rng: np.random.Generator, part: str = "training") -> dict[str, Tensor]:
        """Return a batch whose first frames have a whole window behind them: `joint.rows`, in training also video."""
        data = self.data
        window = self._draw_windows(rng, part)
        index = np.concatenate([window, rng.choice(self.frames[part], self.plain_rows)])
        state = data.state[index]
        plans = self.statistics.normalise_action(data.plans[index].swapaxes(0, 1), state).swapaxes(0, 1)
        batch = {
            "state": torch.from_numpy(self.statistics.normalise_state(state)),
            "tokens": self._tokens(data.plan_task[index], rng, dropout=part == "training"),
            "plans": torch.from_numpy(np.ascontiguousarray(plans, dtype=np.float32)),
            "aux": torch.from_numpy(((data.aux[index] - self.aux_mean) / self.aux_std).astype(np.float32)),
            "known": torch.from_numpy(self.known[index]),
        }
        return self._seen(index) | self._windows(window) | batch

    def _draw_windows(self, rng: np.random.Generator, part: str) -> NDArray[np.int64]:
        """Return frames with a window behind them: `joint.rows`, then in training `joint.video_rows`."""
        joint = self.config.joint
        window: NDArray[np.int64] = rng.choice(self.windows[part], self.config.joint_rows)
        if joint is not None and joint.video_rows and part == "training":
            window = np.concatenate([window, rng.choice(self.windows["video"], joint.video_rows)])
        return window

    def _seen(self, index: NDArray[np.int64]) -> dict[str, Tensor]:
        if self.features is None:
            return {"images": images_of(self.data, index)}
        return {"visual": torch.from_numpy(self.features[index]).float()}

    def _windows(self, window: NDArray[np.int64]) -> dict[str, Tensor]:
        """What was executed from the frames `window` (J,) on, and what was then seen."""
        if self.latents is None:
            return {}
        config, data = self.config, self.data
        steps = window[:, None] + np.arange(config.network.action_len)
        executed = self.statistics.normalise_action(data.executed[steps], data.state[window])
        future = np.stack([self.latents[window + step] for step in config.future_steps], axis=3)  # (J, V, C, F, h, w)
        return {
            "executed": torch.from_numpy(executed.astype(np.float32)),
            "future": torch.from_numpy(future).float(),
            "current": torch.from_numpy(self.latents[window]).float(),
        }

    def _tokens(self, tasks: NDArray[np.integer], rng: np.random.Generator, dropout: bool) -> Tensor:
        """(B, K) task numbers -> (B, K, L) token ids of a random wording each."""
        encoder = self.config.network.encoder
        assert isinstance(encoder, KeypointEncoderConfig)  # the config has refused others
        rows = []
        for task in tasks.reshape(-1).tolist():
            choices = self.sentences[task]
            words = choices[rng.integers(len(choices))]
            if dropout:
                words = [word for word in words if rng.random() >= self.config.word_dropout] or words
            rows.append(tokenize(words, encoder.text_buckets, encoder.text_length))
        return torch.tensor(rows).reshape(*tasks.shape, encoder.text_length)
