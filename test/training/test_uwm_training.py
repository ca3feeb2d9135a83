"""Training of the Unified World Model: which frames may teach what, and several processes that learn as one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from numpy.typing import NDArray

from vla_ros.core.config import load_yaml, parse, read_yaml, to_plain
from vla_ros.core.errors import ConfigError
from vla_ros.core.paths import share_folder
from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.datasets.expert import collect_demonstrations, joints_meta
from vla_ros.networks.uwm.autoencoder import AutoencoderConfig, LatentAutoencoder
from vla_ros.networks.uwm.config import UWMConfig
from vla_ros.networks.uwm.encoders import KeypointEncoderConfig
from vla_ros.policies.loading import load_policy
from vla_ros.policies.weights import FILE, save_weights
from vla_ros.sim.tabletop.tasks import TASKS
from vla_ros.training.config import LoopConfig
from vla_ros.training.data import load_data
from vla_ros.training.loop import Trainer
from vla_ros.training.run import train
from vla_ros.training.uwm.batches import BatchMaker
from vla_ros.training.uwm.config import MOVED, Joint, JointLosses, Losses, Start, UWMTraining, check_moved
from vla_ros.training.uwm.loss import UWMLoss
from vla_ros.training.uwm.train import initial_weights, known_statistics, pictures, train_uwm, validate

EPISODES, FRAMES, HORIZON = 8, 16, 12
ENCODER = KeypointEncoderConfig(7, (8, 8, 8), image_features=16, obs_features=32, text_dim=8)
AUTOENCODER = AutoencoderConfig((8, 8, 8), norm_groups=4)
BLOCKS = {"start": Start, "joint": Joint, "joint.losses": JointLosses, "losses": Losses}
NETWORK = UWMConfig(ENCODER, AUTOENCODER, dim=32, depth=1, heads=2, timestep_dim=16)


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """accelerate keeps one precision a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def demonstrations() -> Demonstrations:
    """Made-up frames; every array says which episode and frame it belongs to where that matters."""
    rng, count = np.random.default_rng(0), EPISODES * FRAMES
    images = {name: rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8) for name in ("front", "wrist")}
    return Demonstrations(
        images=images,
        state=rng.normal(size=(count, 7)).astype(np.float32),
        executed=rng.normal(size=(count, 7)).astype(np.float32),
        plans=rng.normal(size=(count, 4, HORIZON, 7)).astype(np.float32),
        plan_task=rng.integers(0, len(TASKS), (count, 4)),
        aux=rng.normal(size=(count, 15)).astype(np.float32),
        episode=np.repeat(np.arange(EPISODES), FRAMES),
        frame=np.tile(np.arange(FRAMES), EPISODES),
        task=rng.integers(0, len(TASKS), count),
        meta={"tasks": list(TASKS), **joints_meta()},
    )


def training(folder: Path, **choices: Any) -> UWMTraining:
    loop = LoopConfig(folder / "run", steps=2, batch=12, learning_rate=1e-3, warmup=1, threads=1, validate_every=2)
    return UWMTraining(
        "uwm",
        folder / "data",
        folder / "autoencoder",
        folder / "model",
        loop,
        NETWORK,
        sampling_steps=2,
        **{"validation_share": 0.125, "joint": Joint(8), **choices},
    )


def numbered_latents(data: Demonstrations) -> NDArray[np.float16]:
    """Latents (N, V, C, h, w) that say which frame they are of."""
    shape = (len(data.state), 2, 4, 16, 16)
    return np.broadcast_to(np.arange(len(data.state))[:, None, None, None, None], shape).astype(np.float16)


def maker(config: UWMTraining, data: Demonstrations) -> BatchMaker:
    latents = numbered_latents(data) if config.joint else None
    return BatchMaker(config, data, known_statistics(config, data), latents)


def forget(data: Demonstrations, episodes: range) -> Demonstrations:
    """The same without any action in these episodes."""
    gone = np.isin(data.episode, list(episodes))
    executed, plans = data.executed.copy(), data.plans.copy()
    executed[gone], plans[gone] = np.nan, np.nan
    return replace(data, executed=executed, plans=plans)


@pytest.mark.parametrize(
    ("choices", "windows", "plans"),
    [
        ({}, range(7), range(7)),
        ({"labelled_share": 0.25}, range(2), range(2)),
        ({"labelled_share": 0.25, "joint": Joint(5, 3)}, range(7), range(2)),
    ],
)
def test_frames_appear_only_where_they_may(
    tmp_path: Path, choices: dict[str, Any], windows: range, plans: range
) -> None:
    """Of eight episodes the last validates, and of a quarter labelled the first two are."""
    data = demonstrations()
    batches, rng, seen = maker(training(tmp_path, **choices), data), np.random.default_rng(0), set()
    for _ in range(30):
        batch = batches.draw(rng)
        first = batch["current"][:, 0, 0, 0, 0].long().numpy()
        seen |= set(data.episode[first].tolist())
        assert (data.episode[first] == data.episode[first + HORIZON]).all(), "a window leaves its episode"
        assert torch.equal(batch["future"][:, 0, 0, :, 0, 0].long(), torch.from_numpy(first[:, None] + [6, 12]))
        assert batch["known"][8:].all(), "a row that only learns plans must know them"
        known = np.isin(data.episode[first], list(plans))
        assert batch["known"][:8].tolist() == known.tolist()
    assert seen == set(windows)
    assert set(data.episode[batches.frames["training"]].tolist()) == set(plans)
    for kind in (batches.frames, batches.windows):
        assert set(data.episode[kind["validation"]].tolist()) == {7}


def test_actions_that_are_not_known_reach_neither_the_statistics_nor_the_loss(tmp_path: Path) -> None:
    joint = Joint(5, video_rows=3, sentence_dropout=0.2, observation_dropout=0.2)
    config, data = training(tmp_path, labelled_share=0.25, joint=joint), demonstrations()
    reached = []
    for source in (data, forget(data, range(2, 7))):
        torch.manual_seed(0)
        trainer = Trainer(UWMLoss(config, 15), config.loop)
        batches, rng = maker(config, source), np.random.default_rng(0)
        drawn = []

        def draw(step: int, drawn: list[Any] = drawn, batches: BatchMaker = batches, rng: Any = rng) -> dict[str, Any]:
            drawn.append(batches.draw(rng))
            return drawn[-1]

        trainer.run(draw, lambda module: {})
        reached.append({name: p.clone() for name, p in trainer.result.named_parameters()})
    assert any(batch["executed"].isnan().any() for batch in drawn), "no row without actions was drawn"
    assert all(p.isfinite().all() for p in reached[1].values())
    for name, parameter in reached[0].items():
        assert torch.equal(parameter, reached[1][name]), name


def test_precision_bf16_keeps_every_loss_finite(tmp_path: Path) -> None:
    config = training(tmp_path, joint=Joint(8, observation_dropout=0.2))
    config = replace(config, loop=replace(config.loop, precision="bf16"))
    batches, rng = maker(config, demonstrations()), np.random.default_rng(0)
    trainer = Trainer(UWMLoss(config, 15), config.loop)
    trainer.run(lambda step: batches.draw(rng), lambda module: {})
    losses = trainer._one(batches.draw(rng))
    assert {"joint_action", "future", "action", "regression", "positions"} == set(losses)
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())


def test_validation_gives_finite_figures_and_a_picture_a_column(tmp_path: Path) -> None:
    config = training(tmp_path)
    batches, module = maker(config, demonstrations()), UWMLoss(config, 15)
    assert all(np.isfinite(value) for value in validate(module, batches, batches.statistics).values())
    ((name, picture),) = pictures(module, batches).items()
    assert name == "validation/now_true_forward_video_unconditional"
    assert picture.shape == (3, 4 * 64, 5 * 64) and float(picture.min()) >= 0 and float(picture.max()) <= 1
    index = batches.windows["validation"][0]
    front = torch.from_numpy(batches.data.images["front"]).permute(0, 3, 1, 2) / 255
    assert torch.allclose(picture[:, :64, :64], front[index])
    assert torch.allclose(picture[:, :64, 64:128], front[index + 12])


def test_every_weight_that_can_learn_takes_part_in_every_step(tmp_path: Path) -> None:
    """Several processes wait for the gradient of each; one without would stop them all."""
    alone = {"losses": Losses(regression=0.0, auxiliary=0.0)}
    for choices in ({}, {"joint": Joint(8, observation_dropout=0.5)}, alone, {"joint": None}):
        config = training(tmp_path, **choices)
        module = UWMLoss(config, 15)
        losses = module(**maker(config, demonstrations()).draw(np.random.default_rng(0)))
        sum(losses.values()).backward()
        assert [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None] == [], choices


def test_a_policy_alone_is_learned_without_any_latents(prepared: Path) -> None:
    """Also from an autoencoder that is part of a model folder, and without the plans for other tasks."""
    first = training(prepared, validation_share=0.25)
    train_uwm(first, resume=False)
    config = replace(first, autoencoder=first.out, joint=None, relabelled=False, out=prepared / "policy")
    config = replace(config, loop=replace(config.loop, run=prepared / "policy_run"))
    for each, plans in ((config, 1), (first, 4)):
        assert load_data(each, HORIZON, each.relabelled).plans.shape[1] == plans
    figures = train_uwm(config, resume=False)
    assert set(figures) == {"plan_mae", "steps"}
    assert not list(config.loop.run.glob("latents_*"))
    given, kept = (load_policy(folder).model.obs_encoder.vae.state_dict() for folder in (first.out, config.out))
    assert all(torch.equal(given[name], kept[name]) for name in given)


# The command itself, but that each process also keeps what it drew first and where its weights ended.
SPY = """
import os, sys
import torch
from vla_ros.cli.main import main
from vla_ros.training.loop import Trainer

run, out = Trainer.run, sys.argv.pop(1)

def spy(self, draw, *rest):
    first, before = [], {k: v.clone() for k, v in self.module.state_dict().items()}
    def remember(step):
        batch = draw(step)
        first.append(batch["state"])
        return batch
    run(self, remember, *rest)
    kept = {"before": before, "after": self.module.state_dict(), "drawn": first[0]}
    kept["averaged"] = self.result.state_dict()
    torch.save(kept, f"{out}/rank{os.environ['RANK']}.pt")

Trainer.run = spy
sys.exit(main(["train", *sys.argv[1:]]))
"""


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Demonstrations of four real episodes, an autoencoder, and a tiny training of both, in a folder."""
    list(collect_demonstrations(tmp_path / "data", episodes=4, seed=0, processes=1))
    torch.manual_seed(0)
    (tmp_path / "autoencoder").mkdir()
    (tmp_path / "autoencoder" / "config.yaml").write_text(yaml.safe_dump(to_plain(AUTOENCODER)))
    save_weights(LatentAutoencoder(AUTOENCODER), tmp_path / "autoencoder" / FILE)
    config = training(tmp_path, validation_share=0.25, labelled_share=0.5)
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(to_plain(config)))
    return tmp_path


def torchrun(folder: Path, *words: str) -> list[str]:
    """Run two processes to their end; what each printed on stdout."""
    logs = folder / "logs"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            "2",
            "--redirects",
            "3",
            "--log-dir",
            str(logs),
            *words,
        ],
        capture_output=True,
        text=True,
        timeout=80,
        env=environment,
        check=False,
    )
    errors = "\n".join(path.read_text() for path in logs.rglob("stderr.log"))
    assert done.returncode == 0, done.stderr + errors
    return [next(logs.rglob(f"{rank}/stdout.log")).read_text() for rank in (0, 1)]


@pytest.mark.slow
def test_two_processes_learn_as_one(prepared: Path) -> None:
    (prepared / "spy.py").write_text(SPY)
    said, silent = torchrun(prepared, str(prepared / "spy.py"), str(prepared), "--config", str(prepared / "train.yaml"))
    assert "step 2:" in said and "plan_mae" in said
    assert silent.strip() == ""
    ranks = [torch.load(prepared / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert not torch.equal(ranks[0]["drawn"], ranks[1]["drawn"]), "both learned from the same frames"
    for part in ("after", "averaged"):
        for name, weights in ranks[0][part].items():
            assert weights.isfinite().all() and torch.equal(weights, ranks[1][part][name]), name
    moved = [n for n, w in ranks[0]["after"].items() if not torch.equal(w, ranks[0]["before"][n])]
    assert any("noise_pred_net.action_decoder" in name for name in moved)
    assert any("img_encoder" in name for name in moved) and not any(".vae." in name for name in moved)
    assert len(list((prepared / "run").glob("events.*"))) == 1
    assert len(list((prepared / "run").glob("latents_*.npy"))) == 1
    checkpoint = torch.load(prepared / "run" / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == 2
    written = {path.name for path in (prepared / "model").iterdir()}
    assert written == {"config.yaml", FILE, "statistics.json", "manifest.json"}


@pytest.mark.slow
def test_the_command_under_torchrun(prepared: Path) -> None:
    said, silent = torchrun(prepared, "-m", "vla_ros.cli.main", "train", "--config", str(prepared / "train.yaml"))
    assert "plan_mae" in said and silent.strip() == ""
    assert parse(yaml.safe_load((prepared / "train.yaml").read_text()), UWMTraining, "train.yaml").loop.steps == 2


@pytest.mark.parametrize("part", ["encoder", "all"])
def test_a_training_starts_from_a_model(tmp_path: Path, tiny_model: Path, part: str) -> None:
    start = Start(tiny_model, part)
    module = UWMLoss(training(tmp_path, start=start), 15)
    initial_weights(module, start)
    given = load_policy(tiny_model).model.state_dict()
    equal = {name for name, value in module.uwm.state_dict().items() if torch.equal(value, given[name])}
    assert equal >= {name for name in given if name.startswith("obs_encoder.")}
    assert ("noise_pred_net.action_encoder.0.weight" in equal) == (part == "all")


def test_a_model_of_other_sizes_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    start = Start(tiny_model, "all")
    config = replace(training(tmp_path, start=start), network=replace(NETWORK, depth=2))
    module = UWMLoss(config, 15)
    with pytest.raises(ConfigError, match="its weights are not those of this training"):
        initial_weights(module, start)


def test_video_rows_without_video_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"joint\.video_rows needs labelled_share < 1"):
        training(tmp_path, joint=Joint(5, 3))
    with pytest.raises(ConfigError, match=r"must be <= loop\.batch, got 8 \+ 5 with a batch of 12"):
        training(tmp_path, labelled_share=0.5, joint=Joint(8, 5))


@pytest.mark.parametrize("key", MOVED)
def test_a_flat_key_is_refused_with_its_block(tmp_path: Path, key: str) -> None:
    plain = to_plain(training(tmp_path)) | {key: 0}
    (tmp_path / "flat.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(ConfigError, match=rf"flat\.yaml: the key '{key}' is now '{MOVED[key]}'"):
        train(tmp_path / "flat.yaml", resume=False)
    block, name = MOVED[key].rsplit(".", 1)
    assert name in {field.name for field in fields(BLOCKS[block])}


@pytest.mark.parametrize("name", sorted(path.name for path in (share_folder() / "config/training").glob("uwm_*.yaml")))
def test_a_shipped_recipe_can_be_read(name: str) -> None:
    path = share_folder() / "config/training" / name
    check_moved(load_yaml(path), name)
    assert read_yaml(path, UWMTraining).kind == "uwm"
