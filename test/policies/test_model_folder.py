"""A model folder is written whole or not at all, and read only where its files belong together."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vla_ros.core.config import load_yaml, read_yaml
from vla_ros.core.errors import ConfigError, ModelError
from vla_ros.core.surprise.score import Calibration, load_calibration
from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.policies.loading import load_policy
from vla_ros.policies.manifest import check_manifest, write_manifest
from vla_ros.policies.model_folder import ModelFolder, check_out, write_among
from vla_ros.policies.statistics import load_statistics
from vla_ros.policies.uwm import UWMFolder
from vla_ros.policies.weights import load_weights

ROOT = Path(__file__).resolve().parents[2]


class Fails:
    """A part of a folder that cannot be written."""

    def save(self, folder: Path) -> None:
        raise OSError("no space left on device")


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the model folder, with its manifest."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def other_network(folder: Path) -> tuple[UWMFolder, UnifiedWorldModel]:
    """Another training's result for the same config."""
    config = read_yaml(folder / "config.yaml", UWMFolder)
    torch.manual_seed(7)
    return config, UnifiedWorldModel(config.network)


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from vla_ros.core.config import read_yaml
from vla_ros.networks.uwm.model import UnifiedWorldModel
from vla_ros.policies.model_folder import ModelFolder
from vla_ros.policies.uwm import UWMFolder

class Killed:
    def save(self, folder):
        assert (folder / "model.safetensors").is_file()  # config and weights are written, statistics are not
        os.kill(os.getpid(), signal.SIGKILL)

out = Path(sys.argv[1])
config = read_yaml(out / "config.yaml", UWMFolder)
ModelFolder.write(out, config, UnifiedWorldModel(config.network), Killed())
"""


def test_a_training_killed_while_it_writes_leaves_the_old_model(folder: Path) -> None:
    before = content(folder)
    ended = subprocess.run([sys.executable, "-c", KILLED, folder], cwd=ROOT, check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert content(folder) == before
    load_policy(folder, threads=1)


def test_a_write_that_fails_leaves_the_old_model_and_nothing_beside_it(folder: Path) -> None:
    before = content(folder)
    with pytest.raises(OSError, match="no space left"):
        ModelFolder.write(folder, *other_network(folder), Fails())
    assert content(folder) == before
    assert os.listdir(folder.parent) == ["model"]


def test_a_new_model_replaces_all_of_the_old_one(folder: Path) -> None:
    """What was measured of the old weights is not told of the new ones."""
    statistics = load_statistics(folder, load_policy(folder).contract.joints, 12)
    Calibration(0.5, 0.2, 0.05, 40, {"front imagined": (0.1,)}, {"front imagined": 0.3}).save(folder)
    (folder / "evaluation.json").write_text("{}")
    load_policy(folder, threads=1)  # neither belongs to the manifest
    config, network = other_network(folder)
    ModelFolder.write(folder, config, network, statistics)
    assert sorted(os.listdir(folder)) == ["config.yaml", "manifest.json", "model.safetensors", "statistics.json"]
    assert os.listdir(folder.parent) == ["model"]
    weights = load_policy(folder, threads=1).model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    assert load_calibration(folder) is None


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors", "statistics.json"])
def test_a_file_of_another_model_is_refused_by_name(folder: Path, tmp_path: Path, name: str) -> None:
    """A folder that was copied in part: each file is good for itself."""
    config, network = other_network(folder)
    statistics = load_statistics(folder, config.contract.joints, 12)
    changed = replace(statistics, state_std=statistics.state_std * 2)
    ModelFolder.write(tmp_path / "other", config, network, changed)
    text = (tmp_path / "other/config.yaml").read_text().replace("registers: 4", "registers: 5")
    (tmp_path / "other/config.yaml").write_text(text)
    shutil.copy(tmp_path / "other" / name, folder / name)
    with pytest.raises(
        ModelError, match=rf"model: {name} is not the file that manifest\.json was written with"
    ) as said:
        load_policy(folder)
    assert "\n" not in str(said.value)


def test_what_a_person_may_set_in_the_config_stays_free(folder: Path) -> None:
    config = folder / "config.yaml"
    text = config.read_text().replace("precision: float32", "precision: bfloat16  # this machine has AMX")
    text = text.replace("sampling_steps: 2", "sampling_steps: 3").replace("execute_steps: 2", "execute_steps: 4")
    config.write_text(text)
    policy = load_policy(folder, threads=1)
    assert (policy.folder.precision, policy.folder.sampling_steps, policy.contract.execute_steps) == ("bfloat16", 3, 4)


def test_missing_and_strange_files_are_refused(folder: Path) -> None:
    (folder / "words.json").write_text("[]")
    with pytest.raises(ModelError, match=r"words\.json is not named in manifest\.json"):
        load_policy(folder)
    (folder / "words.json").unlink()
    (folder / "statistics.json").unlink()
    with pytest.raises(ModelError, match=r"statistics\.json is missing; manifest\.json names it"):
        load_policy(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2, "sha256": {}}',
        '{"version": 1, "sha256": {"config.yaml": 1}}',
        '{"version": 1, "version": 1, "sha256": {}}',
        '{"version": 1, "sha256": ["config.yaml"]}',
        "[" * 100_000,
    ],
)
def test_a_broken_manifest_is_one_line(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json: (cannot be read|must hold version 1)") as said:
        load_policy(folder)
    assert "\n" not in str(said.value) and len(str(said.value)) < 500


def test_a_manifest_that_is_a_pipe_does_not_wait(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    with pytest.raises(ModelError, match="not a regular file"):
        load_policy(folder)


def test_a_folder_without_a_manifest_is_read_as_before(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    load_policy(folder, threads=1)


@pytest.mark.parametrize("name", ["uwm_tabletop", "vla_tabletop"])
def test_the_models_that_ship_have_manifests_that_fit(name: str) -> None:
    folder = ROOT / "models" / name
    assert (folder / "manifest.json").is_file()
    check_manifest(folder)


def test_no_training_writes_among_the_models_that_ship() -> None:
    outs = [load_yaml(path).get("out") for path in sorted((ROOT / "config/training").glob("*.yaml"))]
    assert len([out for out in outs if out]) > 10
    for out in filter(None, outs):
        check_out(ROOT / out)
    for out in ("models/uwm_tabletop", "models/mine", "config/../models/uwm_tabletop"):
        with pytest.raises(ConfigError, match="is among the models that ship, which nothing writes over; use runs/"):
            check_out(ROOT / out)


def test_a_training_refuses_its_out_before_it_begins(tmp_path: Path) -> None:
    from vla_ros.training.run import train

    text = (ROOT / "config/training/uwm_tabletop_refine.yaml").read_text()
    config = tmp_path / "train.yaml"
    config.write_text(re.sub("^out: .*", f"out: {ROOT}/models/uwm_tabletop", text, flags=re.M))
    with pytest.raises(ConfigError, match="among the models that ship"):
        train(config, False)


@pytest.mark.parametrize("name", ["checkpoint.pt", "thesis.txt"])
def test_a_folder_of_other_things_is_never_replaced(folder: Path, name: str) -> None:
    (folder / name).write_text("mine")
    with pytest.raises(ConfigError, match=f"holds {name}, which is no part of a model folder"):
        ModelFolder.write(folder, *other_network(folder))
    assert (folder / name).read_text() == "mine"
    with pytest.raises(ConfigError, match="is there and is no folder"):
        check_out(folder / name)


def test_a_run_folder_written_in_part_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An autoencoder lies among its checkpoints, so that its files are replaced one by one, the manifest first."""
    from vla_ros.networks.uwm.autoencoder import AutoencoderConfig, LatentAutoencoder
    from vla_ros.training.uwm.autoencoder import load_autoencoder

    config = AutoencoderConfig((8, 8), norm_groups=4)
    (tmp_path / "checkpoint.pt").write_text("of the run")
    write_among(tmp_path, LatentAutoencoder(config), config)
    load_autoencoder(tmp_path)
    old = (tmp_path / "model.safetensors").read_bytes()
    torch.manual_seed(1)
    write_among(tmp_path, LatentAutoencoder(config), config)
    load_autoencoder(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.pt", "config.yaml", "manifest.json", "model.safetensors"]
    (tmp_path / "model.safetensors").write_bytes(old)
    with pytest.raises(ModelError, match=r"model\.safetensors is not the file"):
        load_autoencoder(tmp_path)


def test_only_one_file_writes_weights_and_configs() -> None:
    """Whatever wrote a model folder by itself would leave half of one when it is killed."""
    writes = re.compile(r"\bsave_weights\(|safe_dump\(to_plain|\bsave_file\(")
    homes = {"model_folder.py", "weights.py"}
    found = [
        str(path)
        for room in ("policies", "training")
        for path in (ROOT / "vla_ros" / room).glob("*.py")
        if path.name not in homes and writes.search(path.read_text())
    ]
    assert found == []


# ------------------------------------------------------------------------------- weights


def retyped(folder: Path, change) -> None:
    """Change one weight, and tie the folder together again: the fault is in the file, not in the copying."""
    weights = load_file(folder / "model.safetensors")
    name = "noise_pred_net.head.linear.weight"
    weights[name] = change(weights[name])
    save_file(weights, folder / "model.safetensors")
    write_manifest(folder)


@pytest.mark.parametrize(
    ("dtype", "named"),
    [
        (torch.int8, "I8"),
        (torch.int64, "I64"),
        (torch.uint8, "U8"),
        (torch.bool, "BOOL"),
        (torch.complex64, "C64"),
        (torch.float8_e4m3fn, "F8_E4M3"),
        (torch.float8_e5m2, "F8_E5M2"),
    ],
)
def test_weights_of_another_type_are_refused_by_name(folder: Path, dtype: torch.dtype, named: str) -> None:
    retyped(folder, lambda value: value.to(dtype))
    line = rf"head\.linear\.weight holds {named}; weights must be one of F32, F16, BF16, F64$"
    with pytest.raises(ModelError, match=line):
        load_policy(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_every_float_type_are_read(folder: Path, dtype: torch.dtype) -> None:
    retyped(folder, lambda value: value.to(dtype))
    load_policy(folder, threads=1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3e38, r"holds 3e\+38; weights must be at most 1e\+18"),
        (-3e38, "weights must be at most"),
        (1e300, "not finite in float32"),
        (float("nan"), "not finite"),
        (float("-inf"), "not finite"),
    ],
)
def test_weights_that_cannot_be_computed_with_are_refused(folder: Path, value: float, message: str) -> None:
    retyped(folder, lambda weights: torch.full_like(weights, value, dtype=torch.float64))
    with pytest.raises(ModelError, match=message):
        load_policy(folder)


def test_weights_must_be_finite_in_the_type_that_computes(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    save_file({"weight": torch.full((2, 2), 7e4), "bias": torch.zeros(2)}, tmp_path / "w.safetensors")
    load_weights(network, tmp_path / "w.safetensors", torch.bfloat16)
    with pytest.raises(ModelError, match="weight holds values that are not finite in float16"):
        load_weights(network, tmp_path / "w.safetensors", torch.float16)


# ------------------------------------------------------------------------------- statistics


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("true,", '"false",', r"relative\[0\]: must be true or false, got 'false'"),
        ("true,", "1,", r"relative\[0\]: must be true or false, got 1"),
        (
            '"relative"',
            '"relative": [false, false, false, false, false, false, false],\n "relative"',
            "key 'relative' is given twice",
        ),
        ('"mean": [', '"mean": [[', "damaged or incomplete"),
        ('"joints"', '"more": 1, "joints"', "unknown key 'more'"),
        ("0.0,", "1e999,", "1e999 is not a finite number"),
        ("0.0,", "NaN,", "NaN is not a finite number"),
        ("0.0,", "1e39,", "not finite"),
        ("0.0,", '"0.0",', "must be a finite number, got '0.0'"),
        ("0.0,", "[" * 1000 + "]" * 1000 + ",", "nested deeper than 64"),
    ],
)
def test_statistics_are_read_as_strictly_as_yaml(folder: Path, old: str, new: str, message: str) -> None:
    path = folder / "statistics.json"
    path.write_text(path.read_text().replace(old, new, 1))
    write_manifest(folder)
    with pytest.raises(ModelError, match=message) as said:
        load_policy(folder)
    assert "\n" not in str(said.value) and len(str(said.value)) < 500


# ------------------------------------------------------------------------------- what a config may ask for


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: uwm", "kind: [uwm]", r"kind '\['uwm'\]' is not known"),
        ("kind: uwm", "kind: {a: 1}", "kind '.*' is not known"),
        ("dim: 32", "dim: 1000000000", "network: dim must be 1 to 32768, got 1000000000"),
        ("dim: 32", "dim: 0", "network: dim must be 1 to"),
        ("dim: 32", "dim: 24576", "shape|lacks"),  # within bounds, and not what the file holds
        ("depth: 1", "depth: 1000000000", "network: depth must be 1 to 128, got 1000000000"),
        ("depth: 1", "depth: 128", "lacks"),
        ("heads: 2", "heads: 0", "network: heads must be 1 to 256, got 0"),
        ("heads: 2", "heads: 3", "network: dim must be a multiple of heads, got 32 and 3"),
        ("registers: 4", "registers: 1000000000", "network: registers must be 0 to"),
        ("registers: 4", "registers: -1", "network: registers must be 0 to"),
        ("sampling_steps: 2", "sampling_steps: 1000000000", "sampling_steps must be 1 to 100, got 1000000000"),
        ("sampling_steps: 2", "sampling_steps: 0", "sampling_steps must be 1 to"),
        ("mlp_ratio: 2.0", "mlp_ratio: 1.0e+9", "network: mlp_ratio must be"),
        ("text_buckets: 4096", "text_buckets: 1000000000000", "network.encoder: text_buckets must be 1 to"),
        ("latent_channels: 4", "latent_channels: 0", "network.autoencoder: latent_channels must be"),
        ("norm_groups: 4", "norm_groups: 0", "network.autoencoder: norm_groups must be"),
        ("norm_groups: 4", "norm_groups: 3", "network.autoencoder: channels must be multiples of norm_groups"),
        ("reader_width: 0", "reader_width: -1", "network: reader_width must be 0 to"),
        ("- 2\n  - 4\n  - 4", "- 0\n  - 4\n  - 4", "network: patch must be 1 to"),
        ("- 2\n  - 4\n  - 4", "- 2\n  - 5\n  - 4", r"network: patch \(2, 5, 4\) must divide"),
        ("train_timesteps: 100", "train_timesteps: 1000000000", "network: train_timesteps must be 1 to"),
        ("history: 1", "history: 1000000000", "contract: history must be 1 to"),
        ("step_s: 0.1", "step_s: 1.0e-9", "contract: step_s must be 0.001 to 60"),
        ("width: 64", "width: 0", r"contract.cameras\[0\]: width must be 1 to 8192, got 0"),
        ("name: wrist", "name: front", "cameras must have names of their own, got 'front' twice"),
    ],
)
def test_a_config_that_asks_for_too_much_is_one_line(folder: Path, old: str, new: str, message: str) -> None:
    config = folder / "config.yaml"
    assert old in config.read_text(), config.read_text()
    config.write_text(config.read_text().replace(old, new, 1))
    (folder / "manifest.json").unlink()
    with pytest.raises((ConfigError, ModelError), match=message) as said:
        load_policy(folder)
    assert "\n" not in str(said.value) and len(str(said.value)) < 500


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("depth: 3", "depth: 1000000000", "backbone: depth must be 1 to 128, got 1000000000"),
        ("patch: 16", "patch: 0", "backbone: patch must be 1 to 8192, got 0"),
        ("heads: 4", "heads: 0", "heads must be 1 to 256, got 0"),
        ("vocabulary: 640", "vocabulary: 1000000000000", "backbone: vocabulary must be"),
        ("num_layers: 1", "num_layers: 1000000000", r"head\.num_layers must be 1 to 128"),
        ("hidden_size: 256", "hidden_size: 1000000000", r"head\.hidden_size must be 1 to"),
        ("window: 8", "window: 1000000000", r"head\.window must be 1 to 4096"),
        ("hidden_size: 256", "hidden_size: 32768", "shape"),
    ],
)
def test_so_is_one_of_a_vla(tmp_path: Path, old: str, new: str, message: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(ROOT / "models/vla_tabletop", folder, ignore=shutil.ignore_patterns("manifest.json"))
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(old, new, 1))
    with pytest.raises((ConfigError, ModelError), match=message):
        load_policy(folder)


def test_statistics_numbers_are_what_was_saved(folder: Path) -> None:
    held = json.loads((folder / "statistics.json").read_text())
    statistics = load_statistics(folder, tuple(held["joints"]), 12)
    assert statistics.relative.dtype == np.bool_ and statistics.relative.tolist() == held["relative"]
