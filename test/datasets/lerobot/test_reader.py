"""LeRobotDatasets as training data: our own exports, and datasets whose columns bear other names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from accelerate.state import AcceleratorState
from bag_files import picture, steady, write_bag
from std_msgs.msg import String

from vla_ros.bags.episodes.assembly import EpisodeOptions
from vla_ros.core.errors import ConfigError
from vla_ros.core.robot import load_robot
from vla_ros.datasets.export import export
from vla_ros.datasets.lerobot.columns import Columns
from vla_ros.datasets.lerobot.reader import load_lerobot
from vla_ros.datasets.wordings import sentences_of
from vla_ros.networks.uwm.autoencoder import AutoencoderConfig
from vla_ros.networks.uwm.config import UWMConfig
from vla_ros.networks.uwm.encoders import KeypointEncoderConfig
from vla_ros.policies.loading import check_contract, load_policy
from vla_ros.training.config import LoopConfig
from vla_ros.training.data import load_data
from vla_ros.training.uwm.autoencoder import train_autoencoder
from vla_ros.training.uwm.config import AutoencoderTraining, Joint, Losses, UWMTraining
from vla_ros.training.uwm.train import train_uwm

ROBOT = load_robot("ur5e_tabletop")
START = 10**18
HORIZON = 12
FIRST = (0, 30, 60, 90)  # the frame of the bag that each episode begins with


def make(folder: Path, lossless: bool) -> Path:
    """Four marked episodes of 2.5 s, as a dataset."""
    messages = steady(ROBOT, 13, START, "push the red block to the left")
    for start in FIRST:
        for at, event in ((start, "start"), (start + 25, "end")):
            messages.append((START + at * 10**8, "/episode", String(data=json.dumps({"event": event}))))
    export([write_bag(folder / "bag", messages)], ROBOT, EpisodeOptions(), "lerobot", folder / "set", lossless=lossless)
    return folder / "set"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("video"), lossless=False)


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("lossless"), lossless=True)


def test_every_frame_comes_back_at_its_place(video: Path, lossless: Path) -> None:
    for folder, limit in ((lossless, 0.0), (video, 6.0)):
        data = load_lerobot(folder, HORIZON, Columns())
        assert data.meta["joints"] == list(ROBOT.joint_names) and data.meta["step_ns"] == 100_000_000
        assert np.unique(data.episode).tolist() == [0, 1, 2, 3] and list(data.images) == ["front", "wrist"]
        for row, (episode, frame) in enumerate(zip(data.episode, data.frame, strict=True)):
            shown = FIRST[episode] + int(frame)
            assert data.state[row, 0] == pytest.approx(shown * 0.01, abs=1e-6)
            for images in data.images.values():
                assert np.abs(images[row].astype(int) - picture(shown)).mean() <= limit


def test_plans_are_the_next_actions_of_the_episode(lossless: Path) -> None:
    data = load_lerobot(lossless, HORIZON, Columns())
    for row in range(len(data.state)):
        own = np.flatnonzero(data.episode == data.episode[row])
        for step in range(HORIZON):
            np.testing.assert_array_equal(data.plans[row, 0, step], data.executed[min(row + step, own[-1])])


def foreign(lossless: Path, out: Path) -> Path:
    """The same as others make it: other names, names in a dict, an index without a name, two data files."""
    names = {"observation.images.front": "observation.images.cam_high", "observation.state": "observation.qpos"}
    table = pq.read_table(lossless / "data/chunk-000/file-000.parquet")
    table = table.rename_columns([names.get(name, name) for name in table.column_names])
    (out / "data/chunk-000").mkdir(parents=True)
    (out / "meta").mkdir()
    pq.write_table(table.slice(0, 40), out / "data/chunk-000/file-000.parquet")
    pq.write_table(table.slice(40), out / "data/chunk-000/file-001.parquet")
    info = json.loads((lossless / "meta/info.json").read_text())
    info["features"] = {names.get(key, key): feature for key, feature in info["features"].items()}
    info["features"]["action"]["names"] = {"motors": [f"motor_{i}" for i in range(7)]}
    (out / "meta/info.json").write_text(json.dumps(info))
    (out / "meta/stats.json").write_bytes((lossless / "meta/stats.json").read_bytes())
    tasks = pq.read_table(lossless / "meta/tasks.parquet")
    plain = pa.table({"task_index": tasks["task_index"], "__index_level_0__": tasks["task"]})
    pq.write_table(plain, out / "meta/tasks.parquet")
    return out


def test_a_dataset_made_by_others_is_mapped(lossless: Path, tmp_path: Path) -> None:
    folder = foreign(lossless, tmp_path / "set")
    columns = Columns({"front": "observation.images.cam_high"}, "observation.qpos", joints=ROBOT.joint_names, size=32)
    found, own = load_lerobot(folder, HORIZON, columns), load_lerobot(lossless, HORIZON, Columns())
    np.testing.assert_array_equal(found.state, own.state)
    assert found.meta["joints"] == list(ROBOT.joint_names) and found.meta["tasks"] == own.meta["tasks"]
    assert list(found.images) == ["front"] and found.images["front"].shape == (len(own.state), 32, 32, 3)
    assert load_lerobot(folder, 1, Columns(state="observation.qpos")).meta["joints"][0] == "motor_0"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (Columns({"front": "observation.images.frnt"}), "did you mean 'observation.images.front'"),
        (Columns(state="observation.stat"), "did you mean 'observation.state'"),
        (Columns(joints=("a", "b")), "has 7 columns, their names are 2"),
    ],
)
def test_what_is_not_there_is_said(lossless: Path, columns: Columns, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_lerobot(lossless, HORIZON, columns)


def test_a_sentence_of_the_tabletop_has_all_its_wordings() -> None:
    assert len(sentences_of("push the red block to the left")) > 1
    assert sentences_of("fold the towel") == ["fold the towel"]


def test_columns_are_only_for_these_datasets(tmp_path: Path) -> None:
    loop = LoopConfig(tmp_path / "run", 1, 2)
    with pytest.raises(ConfigError, match="is no LeRobotDataset"):
        load_data(AutoencoderTraining("autoencoder", tmp_path, loop, columns=Columns(size=64)))


def test_a_policy_is_trained_from_bags(video: Path, tmp_path: Path) -> None:
    """Bags, dataset, autoencoder, policy: every step real, only short."""

    def loop(name: str) -> Any:
        AcceleratorState._reset_state(reset_partial_state=True)  # accelerate keeps one precision a process
        return LoopConfig(tmp_path / name, steps=2, batch=8, warmup=1, threads=1, validate_every=2)

    encoder = KeypointEncoderConfig(7, (8, 8, 8), image_features=16, obs_features=32, text_dim=8)
    autoencoder = AutoencoderConfig((8, 8, 8), norm_groups=4)
    train_autoencoder(AutoencoderTraining("autoencoder", video, loop("autoencoder"), autoencoder), resume=False)
    config = UWMTraining(
        "uwm",
        video,
        tmp_path / "autoencoder",
        tmp_path / "model",
        loop("run"),
        UWMConfig(encoder, autoencoder, dim=32, depth=1, heads=2, timestep_dim=16),
        Joint(4),
        sampling_steps=2,
        validation_share=0.25,
        losses=Losses(auxiliary=0.0),
    )
    figures = train_uwm(config, resume=False)
    assert all(np.isfinite(value) for value in figures.values())
    check_contract(load_policy(tmp_path / "model").contract, ROBOT)
