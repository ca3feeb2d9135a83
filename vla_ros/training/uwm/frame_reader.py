"""Teaches a Unified World Model's frame reader what the joints were in the frames it reads, before the model uses it.

Diffusion of actions alone teaches it slowly: of a step's rows one in six asks what was done between given frames. The
head that names the joints exists only here, as do the heads that teach the image networks (`training/uwm/train.py`).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vla_ros.datasets.demonstrations import Demonstrations, labelled
from vla_ros.networks.uwm.model import UnifiedWorldModel, make_scheduler
from vla_ros.policies.model_folder import write_among
from vla_ros.training.data import load_data
from vla_ros.training.learning import learn
from vla_ros.training.loop import Trainer, keep_freed_memory, processes
from vla_ros.training.uwm.autoencoder import load_autoencoder
from vla_ros.training.uwm.batches import MIN_STD, cached_latents
from vla_ros.training.uwm.config import FrameReaderTraining


class FrameReaderLoss(nn.Module):
    """The reader, and a head that names the joints in what it has read."""

    def __init__(self, config: FrameReaderTraining, joints: int) -> None:
        super().__init__()
        self.config = config
        self.reader = UnifiedWorldModel(config.network).frame_reader
        self.joints = nn.Linear(config.network.dim, joints)
        self.scheduler = make_scheduler(config.network)

    def forward(self, future: Tensor, current: Tensor, joints: Tensor) -> dict[str, Tensor]:
        """(B, V, C, T, h, w), (B, V, C, h, w), (B, T, D) in one scale -> mean squared error of the joints.

        A share `clean` of the rows is without noise, the others at uniform timesteps, as the world model meets them.
        """
        t = torch.randint(0, self.config.network.train_timesteps, (len(future),), device=future.device)
        t = torch.where(torch.rand(len(t), device=t.device) < self.config.clean, 0, t)
        noisy = self.scheduler.add_noise(future, torch.randn_like(future), t)
        return {"joints": F.mse_loss(self.joints(self.reader.read(noisy, current)), joints)}


class Frames:
    """Draws present and future frames with the joints of the future ones.

    All joints in one scale: each in its own, one that hardly moves, and cannot be read, would weigh as much as others.
    """

    def __init__(self, config: FrameReaderTraining, data: Demonstrations, latents: NDArray[np.float16]) -> None:
        self.config, self.latents = config, latents
        training, validation = data.split(config.validation_share)
        training &= labelled(data, config.labelled_share)
        windows = data.windows(max(config.future_steps))
        self.windows = {"training": windows[training[windows]], "validation": windows[validation[windows]]}
        known = data.state[training]
        self.scale = max(float(known.std(0).max()), MIN_STD)
        self.joints = ((data.state - known.mean(0)) / self.scale).astype(np.float32)

    def draw(self, rng: np.random.Generator, part: str = "training") -> dict[str, Tensor]:
        """A batch for `FrameReaderLoss`."""
        now = rng.choice(self.windows[part], self.config.loop.batch)
        later = now[:, None] + np.asarray(self.config.future_steps)
        return {
            "future": torch.from_numpy(np.moveaxis(self.latents[later], 1, 3)).float(),
            "current": torch.from_numpy(self.latents[now]).float(),
            "joints": torch.from_numpy(self.joints[later]),
        }

    def error(self, module: FrameReaderLoss) -> dict[str, float]:
        """Mean absolute error of the joints [rad; the gripper's own unit] in clean held-out frames."""
        batch, module = self.draw(np.random.default_rng(0), "validation"), module.eval()
        batch = {name: value.to(module.joints.weight.device) for name, value in batch.items()}
        with torch.no_grad():
            wrong = (module.joints(module.reader.read(batch["future"], batch["current"])) - batch["joints"]).abs()
        module.train()
        return {"joints_mae": self.scale * float(wrong.mean())}


def train_frame_reader(config: FrameReaderTraining, resume: bool) -> dict[str, float]:
    """Train, and save the reader into the run folder; returns what it reached."""
    torch.manual_seed(config.loop.seed)
    keep_freed_memory()
    data = load_data(config)
    with processes().main_process_first():
        latents = cached_latents(data, load_autoencoder(config.autoencoder), config.loop.run)
    trainer = Trainer(FrameReaderLoss(config, data.state.shape[1]), config.loop)
    frames = Frames(config, data, latents)
    figures = learn(trainer, frames.draw, frames.error, resume)
    if figures:
        write_among(config.loop.run, trainer.result.reader)
    return figures
