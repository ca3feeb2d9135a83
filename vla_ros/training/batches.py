"""Batches for the Unified World Model: plans under many sentences, and windows with their future latents."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from vla_ros.networks.autoencoder import LatentAutoencoder
from vla_ros.networks.text import tokenize, words_of
from vla_ros.policies.statistics import Statistics
from vla_ros.sim.tasks import TASKS, wordings
from vla_ros.training.autoencoder import as_tensor
from vla_ros.training.config import UWMTraining
from vla_ros.training.dataset import Demonstrations

MIN_STD = 1e-3  # below this a column is constant, and dividing by its deviation would only amplify rounding


def measure(data: Demonstrations, relative: NDArray[np.bool_]) -> Statistics:
    """Statistics of states and of all plans, actions as differences where `relative`."""
    origin = np.where(relative, data.state, 0)[:, None, None, :]
    actions = (data.plans - origin).reshape(-1, *data.plans.shape[2:])
    joints = tuple(data.meta["joints"])
    rows = (data.state.mean(0), data.state.std(0), actions.mean(0), actions.std(0))
    state_mean, state_std, mean, std = (row.astype(np.float32) for row in rows)
    return Statistics(joints, relative, state_mean, np.maximum(state_std, MIN_STD), mean, np.maximum(std, MIN_STD))


def cached_latents(data: Demonstrations, autoencoder: LatentAutoencoder, folder: Path) -> NDArray[np.float16]:
    """Latents of every frame and camera (N, V, C, h, w), encoded once and kept in `folder`, by weights and data."""
    count, parts = len(data.state), []
    digest = hashlib.sha256(repr((count, data.meta.get("seed"))).encode())
    for weights in autoencoder.state_dict().values():
        digest.update(weights.numpy().tobytes())
    cache = folder / f"latents_{digest.hexdigest()[:12]}.npy"
    if cache.is_file():
        kept: NDArray[np.float16] = np.load(cache)
        return kept
    with torch.no_grad():
        for start in track(range(0, count, 256), description="encoding frames"):
            views = [autoencoder.encode(as_tensor(images[start : start + 256])) for images in data.images.values()]
            parts.append(torch.stack(views, dim=1).half().numpy())
    latents = np.concatenate(parts)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(cache, latents)
    return latents


class BatchMaker:
    """Draws batches of frames as the tensors that `UWMLoss` takes."""

    def __init__(
        self, config: UWMTraining, data: Demonstrations, statistics: Statistics, latents: NDArray[np.float16]
    ) -> None:
        self.config, self.data, self.statistics, self.latents = config, data, statistics, latents
        self.sentences = [[words_of(sentence) for sentence in wordings(TASKS[name])] for name in data.meta["tasks"]]
        self.aux_mean = data.aux.mean(0)
        self.aux_std = np.maximum(data.aux.std(0), MIN_STD)
        training, validation = data.split(config.validation_share)
        windows = data.windows(max(*config.future_steps, config.network.action_len))
        self.frames = {"training": np.flatnonzero(training), "validation": np.flatnonzero(validation)}
        self.windows = {
            "training": windows[training[windows]],
            "validation": windows[validation[windows]],
        }

    def draw(self, rng: np.random.Generator, part: str = "training") -> dict[str, Tensor]:
        """A batch whose first `joint_rows` frames have a whole window behind them."""
        config, data = self.config, self.data
        index = np.concatenate([
            rng.choice(self.windows[part], config.joint_rows),
            rng.choice(self.frames[part], config.loop.batch - config.joint_rows),
        ])  # fmt: skip
        window = index[: config.joint_rows]
        state = data.state[index]
        steps = window[:, None] + np.arange(config.network.action_len)
        executed = self.statistics.normalise_action(data.executed[steps], data.state[window])
        plans = self.statistics.normalise_action(data.plans[index].swapaxes(0, 1), state).swapaxes(0, 1)
        future = np.stack([self.latents[window + step] for step in config.future_steps], axis=3)  # (J, V, C, F, h, w)
        return {
            "images": torch.stack([as_tensor(images[index]) for images in data.images.values()], dim=1),
            "state": torch.from_numpy(self.statistics.normalise_state(state)),
            "tokens": self._tokens(data.plan_task[index], rng, dropout=part == "training"),
            "plans": torch.from_numpy(np.ascontiguousarray(plans, dtype=np.float32)),
            "executed": torch.from_numpy(executed.astype(np.float32)),
            "future": torch.from_numpy(future).float(),
            "current": torch.from_numpy(self.latents[window]).float(),
            "aux": torch.from_numpy(((data.aux[index] - self.aux_mean) / self.aux_std).astype(np.float32)),
        }

    def _tokens(self, tasks: NDArray[np.integer], rng: np.random.Generator, dropout: bool) -> Tensor:
        """(B, K) task numbers -> (B, K, L) token ids of a random wording each."""
        network = self.config.network
        rows = []
        for task in tasks.reshape(-1).tolist():
            choices = self.sentences[task]
            words = choices[rng.integers(len(choices))]
            if dropout:
                words = [word for word in words if rng.random() >= self.config.word_dropout] or words
            rows.append(tokenize(words, network.text_buckets, network.text_length))
        return torch.tensor(rows).reshape(*tasks.shape, network.text_length)
