"""`vla-ros convert uwm`: a file in the official layout, at a small size, becomes a folder that plans and imagines."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np
import pytest
import torch
from uwm_questions import sample

from vla_ros.cli.main import USER_ERROR, main
from vla_ros.core.errors import ContractError, ModelError
from vla_ros.core.robot import load_robot
from vla_ros.core.types import Observation
from vla_ros.networks.uwm import config as uwm
from vla_ros.networks.uwm.autoencoder import AutoencoderConfig
from vla_ros.networks.uwm.encoders import ResNetEncoderConfig
from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.policies.convert.uwm import EMBODIMENTS
from vla_ros.policies.loading import check_contract, load_policy

SMALL = dict(
    encoder=ResNetEncoderConfig(image_features=32, resize=(72, 72), crop=(64, 64)),
    autoencoder=AutoencoderConfig((8, 8, 8, 8)),
    dim=32,
    depth=2,
    heads=2,
    timestep_dim=32,
    latent_size=8,
)


@pytest.fixture(autouse=True)
def small_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("libero", "droid"):
        monkeypatch.setitem(uwm.PRESETS, name, replace(uwm.PRESETS[name], **SMALL))


@pytest.fixture
def normaliser(monkeypatch: pytest.MonkeyPatch):
    """The official class, by its own name, while the file is written; gone when it is read."""
    module = ModuleType("datasets.utils.normalizer")

    class LinearNormalizer:
        def __init__(self, scale, offset):
            self.scale, self.offset = scale, offset

    class NestedDictLinearNormalizer(dict):
        pass

    for found in (LinearNormalizer, NestedDictLinearNormalizer):
        found.__module__, found.__qualname__ = module.__name__, found.__name__
        setattr(module, found.__name__, found)
    return module


def random_model(preset: str, registers: int) -> UnifiedWorldModel:
    torch.manual_seed(0)
    model = UnifiedWorldModel(replace(uwm.PRESETS[preset], registers=registers))
    model.load_state_dict({name: torch.randn_like(value) * 0.05 for name, value in model.state_dict().items()})
    model.obs_encoder.vae.shift.zero_()
    model.obs_encoder.vae.scale.fill_(3.0)
    return model.eval()


def official_file(path: Path, model: UnifiedWorldModel, normaliser: ModuleType, prefix: str = "", **more) -> Path:
    """models.pt as the official training writes it, with the state of an optimizer that has taken a step."""
    optimizer = torch.optim.AdamW(model.noise_pred_net.parameters())
    sum(parameter.sum() for parameter in model.noise_pred_net.parameters()).backward()
    weights = {prefix + name: value.clone() for name, value in model.state_dict().items()}
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    content = {
        "model": weights,
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
        "action_normalizer": None,
        "lowdim_normalizer": normaliser.NestedDictLinearNormalizer(
            pos=normaliser.LinearNormalizer(np.ones(3), np.zeros(3))
        ),
        "step": 20000,
        **more,
    }
    parents = {name: ModuleType(name) for name in ("datasets", "datasets.utils")}
    with mock.patch.dict(sys.modules, {**parents, normaliser.__name__: normaliser}):
        torch.save(content, path)
    model.load_state_dict({name.removeprefix(prefix): value for name, value in weights.items()})
    return path


def observation(policy) -> Observation:
    rng = np.random.default_rng(0)
    contract = policy.contract
    images = {
        c.name: rng.integers(0, 256, (contract.history, c.height, c.width, 3), dtype=np.uint8) for c in contract.cameras
    }
    return Observation(0, images, np.zeros((contract.history, len(contract.joints)), np.float32), "ignored")


def convert(path: Path, preset: str, out: Path) -> int:
    return main(["convert", "uwm", str(path), "--preset", preset, "--out", str(out)])


@pytest.mark.parametrize("prefix", ["", "module."])
def test_libero_plans_as_the_checkpoint_does(tmp_path: Path, normaliser: ModuleType, prefix: str) -> None:
    model = random_model("libero", registers=8)  # the preset has 24
    assert convert(official_file(tmp_path / "models.pt", model, normaliser, prefix), "libero", tmp_path / "m") == 0
    policy = load_policy(tmp_path / "m")
    assert (policy.folder.network.registers, policy.folder.provenance["step"]) == (8, 20000)
    seen = observation(policy)
    chunk, again = policy.infer(seen), policy.infer(seen)
    np.testing.assert_array_equal(chunk.actions, again.actions)
    images = torch.stack([torch.from_numpy(seen.images[c.name]) for c in policy.contract.cameras])
    images = images[None].permute(0, 1, 2, 5, 3, 4).float() / 255
    noise = {"action_noise": policy._noise, "next_obs_noise": policy._ignored}
    wanted, _ = sample(model, model.encode(images), predict=("action",), steps=10, **noise)
    np.testing.assert_allclose(chunk.actions, wanted[0].numpy(), rtol=1e-3, atol=1e-4)
    assert policy.imagine(seen).images["agentview_rgb"].shape == (2, 64, 64, 3)
    with torch.no_grad():
        official = model.obs_encoder.vae.vae.encode(images[0, 0, :1, :, :64, :64] * 2 - 1).latent_dist.mean
        ours = policy.model.obs_encoder.vae.encode(images[0, 0, :1, :, :64, :64])
    torch.testing.assert_close(ours, official * 0.13025 / 3.0)
    untouched = {name for name in model.state_dict() if name not in ("obs_encoder.vae.shift", "obs_encoder.vae.scale")}
    for name in untouched:
        assert torch.equal(policy.model.state_dict()[name], model.state_dict()[name]), name


def test_droid_restores_its_actions(tmp_path: Path, normaliser: ModuleType) -> None:
    scale, offset = np.linspace(0.5, 2.0, 10), np.linspace(-1.0, 1.0, 10)
    actions = normaliser.LinearNormalizer(scale, offset)
    path = official_file(tmp_path / "models.pt", random_model("droid", 8), normaliser, action_normalizer=actions)
    assert convert(path, "droid", tmp_path / "m") == 0
    statistics = load_policy(tmp_path / "m").statistics
    normalised = np.random.default_rng(0).standard_normal((16, 10)).astype(np.float32)
    restored = statistics.restore_action(normalised, np.ones(10, np.float32))
    np.testing.assert_allclose(restored, normalised * scale + offset, rtol=1e-5, atol=1e-6)


def test_a_robot_that_takes_joints_refuses_actions_of_the_tool(tmp_path: Path, normaliser: ModuleType) -> None:
    path = official_file(tmp_path / "models.pt", random_model("libero", 24), normaliser)
    assert convert(path, "libero", tmp_path / "m") == 0
    with pytest.raises(ContractError, match="agentview_rgb"):
        check_contract(load_policy(tmp_path / "m").contract, load_robot("ur5e_tabletop"))


def broken(tmp_path: Path, normaliser: ModuleType, change) -> Path:
    model = random_model("libero", 24)
    weights = dict(model.state_dict())
    change(weights)
    path = tmp_path / "models.pt"
    torch.save({"model": weights, "action_normalizer": None, "step": 1}, path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("noise_pred_net.pos_embed"), "lacks 1 of"),
        (lambda w: w.update(extra=torch.ones(1)), "weights that the network does not have: extra"),
        (lambda w: w.pop("noise_pred_net.registers"), "lacks noise_pred_net.registers"),
        (lambda w: w["noise_pred_net.pos_embed"].fill_(torch.nan), "not finite"),
        (lambda w: w.update({"noise_pred_net.pos_embed": torch.ones(1, 3, 32)}), "has shape"),
        (lambda w: w.update({"noise_pred_net.pos_embed": 3}), "model.noise_pred_net.pos_embed is no tensor"),
        (lambda w: w.clear(), "lacks noise_pred_net.registers"),
        (lambda w: w.update({5: torch.ones(1)}), "the name of a weight is of type int; it must be text"),
        (lambda w: w.update({"noise_pred_net.registers": torch.ones(1, 70000, 32)}), "registers must be 0 to 65536"),
        (lambda w: w.update({"noise_pred_net.pos_embed": w["noise_pred_net.pos_embed"].long()}), "holds int64"),
        (lambda w: w["noise_pred_net.pos_embed"].fill_(3e38), "weights must be at most 1e+18"),
    ],
)
def test_wrong_weights_are_refused_and_leave_no_folder(
    tmp_path: Path, normaliser: ModuleType, capsys, change, message: str
) -> None:
    assert convert(broken(tmp_path, normaliser, change), "libero", tmp_path / "m") == USER_ERROR
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["models.pt"]


@pytest.mark.parametrize(
    ("scale", "message"),
    [(np.ones(7), "no array of 10 numbers"), (np.zeros(10), "not positive"), ("10", "no array of 10 numbers")],
)
def test_a_wrong_normaliser_is_refused(tmp_path: Path, normaliser: ModuleType, capsys, scale, message: str) -> None:
    actions = normaliser.LinearNormalizer(scale, np.zeros(10))
    path = official_file(tmp_path / "models.pt", random_model("droid", 8), normaliser, action_normalizer=actions)
    assert convert(path, "droid", tmp_path / "m") == USER_ERROR
    assert message in capsys.readouterr().err


def test_a_malicious_checkpoint_leaves_no_trace(tmp_path: Path, capsys) -> None:
    class Evil:
        def __reduce__(self):
            return eval, (f"open({str(tmp_path / 'mark')!r}, 'w')",)

    torch.save({"model": {"w": torch.ones(1)}, "action_normalizer": Evil()}, tmp_path / "models.pt")
    assert convert(tmp_path / "models.pt", "libero", tmp_path / "m") == USER_ERROR
    assert "models.pt: refused: it wants" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["models.pt"]


def test_a_step_that_is_no_number_is_not_told(tmp_path: Path, normaliser: ModuleType) -> None:
    """Written out, this one would fill any disk: a tuple of itself twice, 60 times."""
    bomb: tuple = ()
    for _ in range(60):
        bomb = (bomb, bomb)
    path = official_file(tmp_path / "models.pt", random_model("libero", 24), normaliser, step=bomb)
    assert convert(path, "libero", tmp_path / "m") == 0
    assert load_policy(tmp_path / "m").folder.provenance["step"] is None


def test_other_presets_and_an_existing_folder_are_refused(tmp_path: Path, capsys) -> None:
    assert convert(tmp_path / "models.pt", "libera", tmp_path / "m") == USER_ERROR
    assert "did you mean 'libero'?" in capsys.readouterr().err
    assert convert(tmp_path / "models.pt", "libero", tmp_path) == USER_ERROR
    assert "already exists" in capsys.readouterr().err
    with pytest.raises(ModelError, match="no 'model' with weights"):
        torch.save([1], tmp_path / "models.pt")
        from vla_ros.policies.convert.uwm import convert_uwm

        convert_uwm(tmp_path / "models.pt", "libero", tmp_path / "m")


def test_the_cameras_and_actions_are_the_presets() -> None:
    for name, robot in EMBODIMENTS.items():
        preset = uwm.PRESETS[name]
        assert (len(robot.cameras), len(robot.actions)) == (preset.views, preset.action_dim)
