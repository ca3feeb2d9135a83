"""A Unified World Model's answers to every question about moments of recorded episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.datasets.wordings import sentences_of
from vla_ros.networks.uwm.config import Modality
from vla_ros.networks.uwm.encoders import KeypointEncoderConfig
from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.networks.uwm.question import Noise, Question, Sampling
from vla_ros.networks.uwm.text import PADDING, tokenize, words_of
from vla_ros.policies.statistics import Statistics

BATCH = 64  # windows
UNTOLD = "_without_instruction"


ACTION: tuple[Modality, ...] = ("action",)
FUTURE: tuple[Modality, ...] = ("next_obs",)


@dataclass(frozen=True, slots=True)
class Windows:
    """N moments of recorded episodes with what was done and seen next; V cameras, F future frames, H steps, D joints.

    now: (N, V, H, W, 3) uint8. future: (N, V, F, H, W, 3) uint8. state: (N, D) and executed: (N, H, D), positions.
    episode: (N,). sentences: N.
    """

    now: NDArray[np.uint8]
    future: NDArray[np.uint8]
    state: NDArray[np.float32]
    executed: NDArray[np.float32]
    episode: NDArray[np.integer[Any]]
    sentences: tuple[str, ...]

    def rows(self, part: slice | NDArray[np.int64]) -> Windows:
        """Some of them."""
        sentences = tuple(np.asarray(self.sentences)[part].tolist())
        return Windows(
            self.now[part], self.future[part], self.state[part], self.executed[part], self.episode[part], sentences
        )


def windows_at(
    data: Demonstrations,
    index: NDArray[np.int64],
    horizon: int,
    future_steps: tuple[int, ...],
    rng: np.random.Generator,
    held_out: bool = False,
) -> Windows:
    """The windows that begin at the frames `index`, each with a random wording of its task."""
    now = np.stack([images[index] for images in data.images.values()], axis=1)
    later = index[:, None] + np.asarray(future_steps)
    future = np.stack([images[later] for images in data.images.values()], axis=1)
    executed = data.executed[index[:, None] + np.arange(horizon)]
    tasks = (data.meta["tasks"][task] for task in data.task[index].tolist())
    sentences = tuple(str(rng.choice(sentences_of(task, held_out))) for task in tasks)
    return Windows(now, future, data.state[index], executed, data.episode[index], sentences)


def as_floats(frames: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) in [0, 1]."""
    return torch.from_numpy(frames).to(device).movedim(-1, -3).float() / 255


def answer(
    model: UnifiedWorldModel, statistics: Statistics, windows: Windows, steps: int, seed: int = 0
) -> dict[str, Tensor]:
    """The answers to every question about N windows, all from the same initial noise: N answers by name.

    Actions (N, H, D), normalised; frames as latents (N, V, C, F, h, w). "current" and "reconstruction" are the true
    frames' latents; a wrong action is another window's; "unconditional" is there where the model knows p(o').
    """
    draw = torch.Generator().manual_seed(seed)
    config, count = model.config, len(windows.state)
    actions = torch.from_numpy(statistics.normalise_action(windows.executed, windows.state))
    noise = torch.randn(count, config.action_len, config.action_dim, generator=draw)
    frames_noise = torch.randn(count, *config.latent_shape, generator=draw)
    device = next(model.parameters()).device
    apart = actions.roll(max(1, count // 2), dims=0)  # windows are in the order of their episodes
    batches = []
    with torch.no_grad():
        for start in range(0, count, BATCH):
            part = slice(start, start + BATCH)
            given = [x[part].to(device) for x in (actions, apart, noise, frames_noise)]
            batches.append(_answer_batch(model, statistics, windows.rows(part), steps, *given))
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def _answer_batch(
    model: UnifiedWorldModel,
    statistics: Statistics,
    windows: Windows,
    steps: int,
    actions: Tensor,
    apart: Tensor,
    action_noise: Tensor,
    frames_noise: Tensor,
) -> dict[str, Tensor]:
    encoder, device = model.config.encoder, actions.device
    assert isinstance(encoder, KeypointEncoderConfig)  # `check` has refused others
    now, future = as_floats(windows.now, device), as_floats(windows.future, device)
    current = model.latents(now)
    later = torch.stack([model.latents(frames) for frames in future.unbind(2)], dim=3)  # (B, V, C, F, h, w)
    visual = model.obs_encoder.see(now[:, :, None])
    state = torch.from_numpy(statistics.normalise_state(windows.state)).to(device)[:, None]
    rows = [tokenize(words_of(sentence), encoder.text_buckets, encoder.text_length) for sentence in windows.sentences]
    tokens = torch.tensor(rows, device=device)
    sampling, noise = Sampling(steps), Noise(action_noise, frames_noise)
    found: dict[str, Tensor | None] = {"current": current, "reconstruction": later}
    for told, words in (("", tokens), (UNTOLD, torch.full_like(tokens, PADDING))):
        seen = model.obs_encoder(visual, state, words)
        for name, question in {
            "policy": Question(ACTION, current=current),
            "inverse": Question(ACTION, next_obs=later, current=current),
            "forward": Question(FUTURE, action=actions, current=current),
            "forward_wrong_action": Question(FUTURE, action=apart, current=current),
            "video": Question(FUTURE, current=current),
        }.items():
            action, frames = model.sample(seen, question, sampling, noise)
            found[f"{name}{told}"] = action if question.predict == ACTION else frames
    if model.config.null_observation:
        _, found["unconditional"] = model.sample(None, Question(FUTURE), Sampling(steps, batch=len(now)), noise)
    return {name: tensor.float().cpu() for name, tensor in found.items() if tensor is not None}


def decode(model: UnifiedWorldModel, latents: Tensor) -> Tensor:
    """Latents (N, V, C, F, h, w) -> frames (N, V, F, 3, H, W) in [0, 1]."""
    flat = latents.transpose(2, 3)  # (N, V, F, C, h, w)
    with torch.no_grad():
        frames = model.obs_encoder.vae.decode(flat.flatten(0, 2).to(next(model.parameters()).device))
    shown: Tensor = frames.view(*flat.shape[:3], *frames.shape[1:]).cpu()
    return shown


def columns(model: UnifiedWorldModel, windows: Windows, answers: dict[str, Tensor], camera: int) -> dict[str, Tensor]:
    """What one camera sees now, what it truly sees at the last future step, and the answers: (N, 3, H, W) each."""
    cpu = torch.device("cpu")
    shown = {"now": as_floats(windows.now[:, camera], cpu), "true": as_floats(windows.future[:, camera, -1], cpu)}
    for name in ("forward", "video", "unconditional"):
        if name in answers:
            shown[name] = decode(model, answers[name][: len(windows.state), camera : camera + 1, :, -1:])[:, 0, 0]
    return shown
