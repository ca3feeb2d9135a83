"""The frame reader is taught what it is for, only by frames whose joints are known, and handed over unchanged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from uwm_questions import sample

from vla_ros.core.errors import ConfigError
from vla_ros.datasets.demonstrations import load_demonstrations
from vla_ros.networks.uwm.autoencoder import AutoencoderConfig
from vla_ros.networks.uwm.config import UWMConfig
from vla_ros.networks.uwm.encoders import KeypointEncoderConfig
from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.policies.loading import load_policy
from vla_ros.policies.weights import FILE, load_weights
from vla_ros.training.config import LoopConfig
from vla_ros.training.uwm.config import FrameReaderTraining, Joint, JointLosses, Losses, Start, UWMTraining
from vla_ros.training.uwm.frame_reader import FrameReaderLoss, Frames, train_frame_reader
from vla_ros.training.uwm.loss import UWMLoss, motion_weights
from vla_ros.training.uwm.train import initial_weights, train_uwm

AUTOENCODER = AutoencoderConfig((8, 8, 8), norm_groups=4)


def network_of(tiny_model: Path) -> UWMConfig:
    return replace(load_policy(tiny_model).folder.network, reader_width=8)


def training(folder: Path, data: Path, tiny_model: Path, steps: int = 2, **choices: float) -> FrameReaderTraining:
    loop = LoopConfig(folder / "reader", steps, batch=16, learning_rate=3e-3, warmup=1, threads=1, validate_every=1000)
    return FrameReaderTraining(
        "frame_reader", data, tiny_model, loop, network_of(tiny_model), **{"validation_share": 0.34, **choices}
    )


def test_it_learns_to_name_the_joints_of_each_frame(tmp_path: Path, short_demonstrations: Path, tiny_model: Path):
    """Latents that show a joint as a spot's place: after a few steps held-out frames are read, too."""
    torch.manual_seed(0)
    config = training(tmp_path, short_demonstrations, tiny_model, clean=1.0)
    data, size = load_demonstrations(short_demonstrations), config.network.latent_size
    rng = np.random.default_rng(0)
    place = rng.integers(1, size - 1, len(data.state))
    latents = np.zeros((len(place), config.network.views, 4, size, size), np.float16)
    latents[np.arange(len(place)), 0, :, 2, place] = 1
    state = np.repeat(place[:, None] / size, data.state.shape[1], axis=1).astype(np.float32)
    frames = Frames(config, replace(data, state=state), latents)
    module = FrameReaderLoss(config, state.shape[1])
    untaught = frames.error(module)["joints_mae"]
    optimizer = torch.optim.AdamW(module.parameters(), 3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        module(**frames.draw(rng))["joints"].backward()
        optimizer.step()
    assert frames.error(module)["joints_mae"] < 0.2 * untaught


def test_joints_that_are_not_known_are_not_learned_from(tmp_path: Path, short_demonstrations: Path, tiny_model: Path):
    config = training(tmp_path, short_demonstrations, tiny_model, labelled_share=0.34)
    data = load_demonstrations(short_demonstrations)
    state = np.where((data.episode == data.episode[0])[:, None], data.state, np.nan)
    shape = (len(state), *config.network.latent_shape[:2], *config.network.latent_shape[3:])
    frames, rng = Frames(config, replace(data, state=state), np.zeros(shape, np.float16)), np.random.default_rng(0)
    assert all(frames.draw(rng)["joints"].isfinite().all() for _ in range(20))


def test_the_world_model_starts_from_the_taught_reader(tmp_path: Path, short_demonstrations: Path, tiny_model: Path):
    figures = train_frame_reader(training(tmp_path, short_demonstrations, tiny_model), resume=False)
    assert np.isfinite(figures["joints_mae"]) and figures["steps"] == 2
    network = network_of(tiny_model)
    taught = UnifiedWorldModel(network).frame_reader
    load_weights(taught, tmp_path / "reader" / FILE)
    loop = LoopConfig(tmp_path / "run", 1, batch=6, learning_rate=1e-9, warmup=1, ema=0, threads=1)
    config = UWMTraining(
        "uwm",
        short_demonstrations,
        tiny_model,
        tmp_path / "model",
        loop,
        network,
        Joint(4, losses=JointLosses(inverse=1.0)),
        Start(tiny_model, "all"),
        reader=tmp_path / "reader",
        losses=Losses(motion_floor=0.25),
        validation_share=0.34,
    )
    train_uwm(config, resume=False)
    kept = load_policy(tmp_path / "model").model.frame_reader
    for name, weights in taught.state_dict().items():
        assert torch.allclose(kept.state_dict()[name], weights, atol=1e-6), name


def test_a_model_that_is_given_a_reader_answers_as_before(tmp_path: Path, tiny_model: Path):
    config = UWMTraining(
        "uwm",
        tmp_path,
        tiny_model,
        tmp_path,
        LoopConfig(tmp_path, 1, batch=4),
        network_of(tiny_model),
        Joint(2),
    )
    module = UWMLoss(config, 15)
    initial_weights(module, Start(tiny_model, "all"))
    before, shape = load_policy(tiny_model).model, network_of(tiny_model).latent_shape
    future, noise = torch.randn(3, *shape), torch.randn(3, 12, 7)
    ask = dict(predict=("action",), steps=3, action_noise=noise, next_obs=future, current=future[:, :, :, 0])
    obs = torch.randn(3, before.config.obs_features)
    answers = [sample(model.eval(), obs, **ask)[0] for model in (before, module.uwm)]
    assert torch.equal(*answers)


def test_a_joint_that_hardly_moves_weighs_as_little_as_it_moves(tiny_model: Path):
    statistics = load_policy(tiny_model).statistics
    std = np.tile(np.array([0.1, 0.2, 0.2, 0.2, 0.01, 0.3, 0.5], np.float32), (12, 1))
    weights = motion_weights(replace(statistics, action_std=std), 0.25, ~statistics.relative)
    assert weights.shape == (12, 7)
    assert weights[:, 4] == pytest.approx((0.01 / 0.05) ** 2)  # a quarter of the median joint's 0.2
    assert (np.delete(weights, 4, axis=1) == 1).all()
    assert (motion_weights(replace(statistics, action_std=std), 0.0, ~statistics.relative) == 1).all()


def test_a_reader_without_a_width_is_refused(tmp_path: Path):
    loop = LoopConfig(tmp_path, 1, batch=4)
    with pytest.raises(ConfigError, match=r"network\.reader_width must be > 0, got 0"):
        FrameReaderTraining("frame_reader", tmp_path, tmp_path, loop, UWMConfig(KeypointEncoderConfig(), AUTOENCODER))
    for choices in ({"reader": tmp_path}, {"joint": Joint(8, losses=JointLosses(inverse=1.0))}):
        with pytest.raises(ConfigError, match=r"(^reader|inverse) needs network\.reader_width > 0"):
            UWMTraining("uwm", tmp_path, tmp_path, tmp_path, LoopConfig(tmp_path, 1, batch=32), **choices)
