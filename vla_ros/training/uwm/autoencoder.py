"""Training of the KL autoencoder for future frames (Rombach et al., arXiv 2112.10752, section 3.1; no GAN term)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vla_ros.core.config import load_yaml, parse
from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.networks.uwm.autoencoder import AutoencoderConfig, LatentAutoencoder
from vla_ros.policies.loading import load_as
from vla_ros.policies.manifest import check_manifest
from vla_ros.policies.model_folder import find_model, write_among
from vla_ros.policies.uwm import UWMPolicy
from vla_ros.policies.weights import FILE, load_weights
from vla_ros.training.data import load_data
from vla_ros.training.loop import Trainer
from vla_ros.training.uwm.config import AutoencoderTraining


def as_tensor(frames: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float in [0, 1], channels last in memory."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


class AutoencoderLoss(nn.Module):
    """Mean absolute error, mean squared error and KL, of frames (B, 3, H, W)."""

    def __init__(self, network: LatentAutoencoder, kl: float) -> None:
        super().__init__()
        self.network, self.kl = network, kl

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Losses by name, already weighted."""
        mean, logvar = self.network.posterior(frames)
        sample = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        output = (self.network.vae.decode(sample).sample + 1) / 2
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(dim=(1, 2, 3)).mean()
        return {
            "absolute": F.l1_loss(output, frames),
            "squared": 5 * F.mse_loss(output, frames),
            "kl": self.kl * kl,
        }


def psnr(network: LatentAutoencoder, frames: Tensor) -> float:
    """Peak signal-to-noise ratio of reconstruction [dB]."""
    frames = frames.to(network.shift.device)
    with torch.no_grad():
        error = F.mse_loss(network.decode(network.encode(frames)), frames)
    return float(-10 * torch.log10(error))


def set_normalisation(network: LatentAutoencoder, frames: Tensor) -> None:
    """Fix the latents' shift and scale so that `frames` have zero mean and unit deviation per channel."""
    with torch.no_grad():
        mean = network.posterior(frames.to(network.shift.device))[0]
    network.shift.copy_(mean.mean(dim=(0, 2, 3), keepdim=True))
    network.scale.copy_(mean.std(dim=(0, 2, 3), keepdim=True))


def frames_of(data: Demonstrations, index: NDArray[np.int64]) -> Tensor:
    """Frames at `index` modulo N, of the camera index // N: all cameras share one autoencoder."""
    cameras, count = list(data.images), len(data.state)
    return as_tensor(np.stack([data.images[cameras[i // count]][i % count] for i in index.tolist()]))


def train_autoencoder(config: AutoencoderTraining, resume: bool) -> dict[str, float]:
    """Train, normalise, and save into the run folder; returns what it reached."""
    torch.manual_seed(config.loop.seed)
    data = load_data(config)
    total = len(data.state) * len(data.images)
    network = LatentAutoencoder(config.network)
    trainer = Trainer(AutoencoderLoss(network, config.kl), config.loop)
    if resume:
        trainer.resume()
    rng = np.random.default_rng([config.loop.seed, trainer.step, trainer.accelerator.process_index])
    held = frames_of(data, np.random.default_rng(1).integers(0, total, 64))

    def draw(_: int) -> dict[str, Tensor]:
        return {"frames": frames_of(data, rng.integers(0, total, config.loop.batch))}

    trainer.run(draw, lambda module: {"psnr_db": psnr(module.network, held)})
    result = trainer.result.network
    set_normalisation(result, frames_of(data, np.random.default_rng(2).integers(0, total, 512)))
    if not trainer.accelerator.is_main_process:
        return {}
    write_among(config.loop.run, result, config.network)
    return {"psnr_db": psnr(result, held), "steps": trainer.step}


def load_autoencoder(folder: Path) -> LatentAutoencoder:
    """The autoencoder that `train_autoencoder` saved in a run folder, or that of a model folder."""
    folder = folder if (folder / "config.yaml").is_file() else find_model(folder)  # or a name in models/
    config = load_yaml(folder / "config.yaml")
    if isinstance(config, dict) and "kind" in config:
        network = load_as(folder, UWMPolicy).model.obs_encoder.vae
        assert isinstance(network, LatentAutoencoder)  # the tabletop preset's; training refuses others
        return network
    check_manifest(folder, complete=False)
    network = LatentAutoencoder(parse(config, AutoencoderConfig, str(folder / "config.yaml")))
    load_weights(network, folder / FILE)
    return network.eval()
