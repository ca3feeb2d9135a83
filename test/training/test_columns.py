"""Which column is the gripper is told by the data, never by a name or a place; and exported bags train VLAs, too."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from golden import golden_folder
from lerobot_sets import COLUMNS, GRIPPER, write_set
from library_folders import backbone_folder

from vla_ros.core.columns import Column, columns_of
from vla_ros.core.config import load_yaml, parse, to_plain
from vla_ros.core.contract import CameraContract, PolicyContract, check_contract
from vla_ros.core.errors import ConfigError, ContractError, ModelError
from vla_ros.core.robot import load_robot
from vla_ros.core.types import Observation
from vla_ros.datasets.demonstrations import Demonstrations, load_demonstrations, told_grippers
from vla_ros.datasets.lerobot.columns import Columns
from vla_ros.datasets.lerobot.reader import load_lerobot
from vla_ros.networks.uwm.autoencoder import AutoencoderConfig
from vla_ros.networks.uwm.config import UWMConfig
from vla_ros.networks.uwm.encoders import KeypointEncoderConfig
from vla_ros.policies.backbones.tiny import TinyBackbone
from vla_ros.policies.loading import load_policy
from vla_ros.policies.statistics import statistics_for
from vla_ros.policies.vla import HeadSizes
from vla_ros.training.config import LoopConfig
from vla_ros.training.data import load_data
from vla_ros.training.pretrained.config import Pretrained, VLALibraryTraining
from vla_ros.training.run import train
from vla_ros.training.uwm.config import AutoencoderTraining, Joint, Losses, UWMTraining
from vla_ros.training.uwm.train import UWMLoss, _error, known_statistics, motion_weights
from vla_ros.training.vla.batches import clipped, quantile_statistics
from vla_ros.training.vla.config import VLATraining
from vla_ros.training.vla.train import gripper_of, off
from vla_ros.training.vlm.config import VLMTraining

AUTOENCODER = AutoencoderConfig((8, 8, 8), norm_groups=4)
LIBERO = golden_folder("LEROBOT_DATASETS_GOLDEN", "lerobot_datasets") / "video"  # states of 8, actions of 7 numbers
official = pytest.mark.skipif(not LIBERO.is_dir(), reason=f"no golden dataset at {LIBERO}")


@pytest.fixture(scope="module")
def robotiq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `vla-ros export` writes it, of a robot whose gripper is called as Robotiq's is, and is not the last column."""
    return write_set(tmp_path_factory.mktemp("robotiq") / "set")


def network(states: int, actions: int = 7, length: int = 4, views: int = 1) -> UWMConfig:
    encoder = KeypointEncoderConfig(states, (8, 8, 8), image_features=16, obs_features=32, text_dim=8)
    return UWMConfig(
        encoder,
        AUTOENCODER,
        views=views,
        action_dim=actions,
        action_len=length,
        dim=32,
        depth=1,
        heads=2,
        timestep_dim=16,
        future_frames=2,
    )


def loop(folder: Path, name: str, batch: int = 8) -> LoopConfig:
    return LoopConfig(folder / name, steps=2, batch=batch, warmup=1, threads=1, validate_every=2)


def run(config: Any) -> dict[str, float]:
    """As `vla-ros train`."""
    config.loop.run.mkdir(parents=True, exist_ok=True)
    path = config.loop.run / "config.yaml"
    path.write_text(yaml.safe_dump(to_plain(config)))
    return train(path, resume=False)


def uwm(data: Path, folder: Path, states: int = 7, views: int = 1, **choices: Any) -> UWMTraining:
    return UWMTraining(
        "uwm",
        data,
        folder / "autoencoder",
        folder / "model",
        loop(folder, "run"),
        network(states, views=views),
        Joint(4),
        future_steps=(2, 4),
        sampling_steps=2,
        validation_share=0.25,
        losses=Losses(auxiliary=0.0),
        **choices,
    )


def autoencoder(data: Path, folder: Path, columns: Columns) -> None:
    run(AutoencoderTraining("autoencoder", data, loop(folder, "autoencoder"), AUTOENCODER, columns=columns))


def observation_of(data: Demonstrations, row: int = 0) -> Observation:
    images = {name: frames[row : row + 1] for name, frames in data.images.items()}
    return Observation(10**9, images, data.state[row : row + 1], data.meta["tasks"][0])


def test_the_contract_of_a_robot_tells_the_columns() -> None:
    columns = columns_of(load_robot("ur5e"))
    assert [column.kind for column in columns] == ["revolute"] * 6 + ["gripper"]
    assert columns[6] == Column("robotiq_85_left_knuckle_joint", "gripper", (0.0, 0.8))
    with pytest.raises(ConfigError, match="only grippers have one"):
        Column("elbow", "revolute", (0.0, 1.0))
    with pytest.raises(ConfigError, match="must rise"):
        Column("finger", "gripper", (1.0, 1.0))


def test_a_dataset_tells_what_its_columns_are(robotiq: Path) -> None:
    data = load_lerobot(robotiq, 4, Columns())
    assert data.columns == COLUMNS and np.flatnonzero(data.is_gripper).tolist() == [GRIPPER]
    assert np.flatnonzero(~data.relative).tolist() == [GRIPPER]


def test_a_gripper_is_an_absolute_target_whatever_its_name(robotiq: Path, tmp_path: Path) -> None:
    """The whole way, from the dataset to the model folder: the statistics, the contract, and what it plans."""
    autoencoder(robotiq, tmp_path, Columns())
    config = uwm(robotiq, tmp_path)
    figures = run(config)
    assert all(np.isfinite(value) for value in figures.values())
    policy = load_policy(config.out, threads=1)
    relative = [k != GRIPPER for k in range(7)]
    assert policy.statistics.relative.tolist() == relative
    assert policy.contract.kinds == tuple(column.kind for column in COLUMNS)
    assert policy.statistics.action_mean[:, GRIPPER] == pytest.approx(0.5, abs=0.1)  # half open, half closed
    assert np.abs(policy.statistics.action_mean[:, :GRIPPER]).max() < 0.5  # differences, though joints stand at 1 to 6
    data = load_lerobot(robotiq, 4, Columns())
    chunk = policy.infer(observation_of(data))
    assert np.abs(chunk.actions[:, 0] - data.state[0, 0]).max() < 1.0


def test_statistics_that_take_a_gripper_for_a_joint_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    """Also by hand: a difference from where the fingers are is no place for them to go to."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    content = json.loads((folder / "statistics.json").read_text())
    content["relative"] = [True] * 7
    (folder / "statistics.json").write_text(json.dumps(content))
    contract = load_yaml(folder / "config.yaml")["contract"] | {"kinds": [column.kind for column in COLUMNS]}
    with pytest.raises(ModelError, match=f"'{contract['joints'][GRIPPER]}' is a gripper; relative must be false"):
        statistics_for(folder, parse(contract, PolicyContract, "contract"))


def test_errors_leave_out_the_gripper_and_not_the_last_joint() -> None:
    got, wanted = torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)
    got[..., 1] = 5.0  # the gripper
    got[..., 3] = 0.3  # the last joint
    arm = torch.tensor([True, False, True, True])
    assert _error(got, wanted, torch.ones(3, 4), arm) == pytest.approx(0.1)


def test_data_that_do_not_say_it_are_refused_until_the_config_does(robotiq: Path, tmp_path: Path) -> None:
    data = load_lerobot(robotiq, 4, Columns())
    silent = replace(data, meta={key: value for key, value in data.meta.items() if key != "columns"})
    with pytest.raises(ConfigError, match=r"which of its columns are grippers .*columns: \{grippers:"):
        known_statistics(uwm(robotiq, tmp_path), silent)
    assert told_grippers(silent, (COLUMNS[GRIPPER].name,)).is_gripper.tolist() == data.is_gripper.tolist()
    assert not told_grippers(silent, ()).is_gripper.any()
    with pytest.raises(ConfigError, match="no column 'robotiq_85_left_knuckle'; did you mean"):
        told_grippers(silent, ("robotiq_85_left_knuckle",))


def test_older_demonstrations_are_told_by_the_config(short_demonstrations: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demos"
    folder.mkdir()
    meta = json.loads((short_demonstrations / "meta.json").read_text())
    assert Column(**meta.pop("columns")[6] | {"stroke": None}).kind == "gripper"
    (folder / "meta.json").write_text(json.dumps(meta))
    (folder / "shard_000").symlink_to(short_demonstrations / "shard_000")
    with pytest.raises(ConfigError, match="which of its columns are grippers"):
        known_statistics(uwm(folder, tmp_path), load_demonstrations(folder))
    config = uwm(folder, tmp_path, columns=Columns(grippers=("gripper_joint",)))
    told = known_statistics(config, load_data(config))
    own = known_statistics(config, load_demonstrations(short_demonstrations))
    np.testing.assert_array_equal(told.relative, own.relative)
    np.testing.assert_array_equal(told.action_mean, own.action_mean)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("[]", "lacks tasks, joints"),
        ('{"tasks": []}', "lacks joints, cameras, step_ns"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_odd_demonstrations_are_one_line(tmp_path: Path, meta: str, message: str) -> None:
    (tmp_path / "meta.json").write_text(meta)
    with pytest.raises(ConfigError, match=message) as caught:
        load_demonstrations(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_dataset_without_its_info_is_no_folder_of_demonstrations(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    with pytest.raises(ConfigError, match=r"meta/info\.json: no such file"):
        load_data(uwm(tmp_path, tmp_path))


def test_columns_are_those_of_the_joints(robotiq: Path) -> None:
    data = load_lerobot(robotiq, 4, Columns())
    with pytest.raises(ConfigError, match="their names differ from those of its joints"):
        _ = replace(data, meta={**data.meta, "joints": ["a"]}).columns


def test_the_ends_of_a_gripper_are_those_of_its_stroke(robotiq: Path) -> None:
    """A Robotiq's 0 to 0.8 rad become -1 to 1; of data that know no stroke, the ends of what it did."""
    data = load_lerobot(robotiq, 4, Columns())
    for known in (data, told_grippers(data, (COLUMNS[GRIPPER].name,))):
        statistics = quantile_statistics(known)
        grip = clipped(statistics, known, np.arange(len(known.state)), 0)[..., GRIPPER]
        assert sorted(np.unique(grip).tolist()) == pytest.approx([-1, 1])
        back = statistics.restore_action(np.ones((4, 7), np.float32), data.state[0])
        assert back[:, GRIPPER] == pytest.approx(0.8)
        assert gripper_of(known) == GRIPPER


def test_shares_of_wrong_gripper_steps_are_shares() -> None:
    """Whatever the gripper's unit is."""

    class Planned:
        pose, gripper_logit = torch.zeros(1, 2, 2), torch.full((1, 2, 1), -1.0)  # always closed

    statistics: Any = type("Scaled", (), {"action_std": np.array([[0.1, 0.4, 0.1]] * 2, np.float32)})
    batch = {"actions": torch.tensor([[[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]])}
    found = off(Planned(), batch, statistics, np.array([False, True, False]))  # type: ignore[arg-type]
    assert found == {"plan_mae": 0.0, "gripper_wrong": 0.5}


def test_a_joint_that_is_no_gripper_of_the_robot_is_refused() -> None:
    robot = load_robot("ur5e")
    cameras = tuple(CameraContract(camera.name, camera.width, camera.height) for camera in robot.cameras)
    kinds = tuple(joint.kind for joint in robot.joints)
    check_contract(PolicyContract(cameras, robot.joint_names, 0.1, 4, 2), robot)  # older folders do not say
    check_contract(PolicyContract(cameras, robot.joint_names, 0.1, 4, 2, kinds=kinds), robot)
    with pytest.raises(ContractError, match="'robotiq_85_left_knuckle_joint': kind is revolute for the model, gripper"):
        check_contract(PolicyContract(cameras, robot.joint_names, 0.1, 4, 2, kinds=("revolute",) * 7), robot)
    with pytest.raises(ConfigError, match="each of 7 joints, got 6"):
        PolicyContract(cameras, robot.joint_names, 0.1, 4, 2, kinds=kinds[:6])
    with pytest.raises(ContractError, match="reads states of x, y"):
        check_contract(PolicyContract(cameras, robot.joint_names, 0.1, 4, 2, state=("x", "y")), robot)


def test_the_shipped_models_say_what_their_joints_are() -> None:
    robot = load_robot("ur5e_tabletop")
    for name in ("uwm_tabletop", "vla_tabletop"):
        kinds = load_yaml(Path("models") / name / "config.yaml")["contract"]["kinds"]
        assert kinds == [joint.kind for joint in robot.joints]


def test_a_joint_that_hardly_moves_is_compared_with_the_arm(robotiq: Path, tmp_path: Path) -> None:
    """Also where no column is relative, so that none would be taken for the arm."""
    statistics = known_statistics(uwm(robotiq, tmp_path), load_lerobot(robotiq, 4, Columns()))
    absolute = replace(statistics, relative=np.zeros(7, np.bool_))
    gripper = np.arange(7) == GRIPPER
    assert np.isfinite(motion_weights(absolute, 0.5, gripper)).all()
    np.testing.assert_array_equal(UWMLoss(uwm(robotiq, tmp_path), 0).weight, np.ones(1))


@pytest.mark.parametrize("formulation", ["one_step", "policy_head", "discrete", "interleaved"])
def test_a_vla_is_trained_from_exported_bags(robotiq: Path, tmp_path: Path, formulation: Any) -> None:
    one = formulation in ("one_step", "discrete")
    head = HeadSizes("lstm" if formulation == "policy_head" else "fc", hidden_size=32)
    config = VLATraining(
        "vla",
        robotiq,
        tmp_path / "model",
        loop(tmp_path, "run", 12),
        TinyBackbone(dim=32, depth=1, heads=2),
        head,
        formulation,
        horizon=2,
        window=1 if one else 3,
        auxiliary=0.0,
        validation_share=0.3,
    )
    figures = run(config)
    assert figures["steps"] == 2 and all(np.isfinite(value) for value in figures.values())
    policy = load_policy(config.out, threads=1)
    assert policy.folder.gripper == COLUMNS[GRIPPER].name and policy.contract.kinds[GRIPPER] == "gripper"
    data = load_lerobot(robotiq, 2, Columns())
    planned = policy.infer(observation_of(data)).actions
    assert np.isfinite(planned).all() and (planned[:, GRIPPER] >= -1e-6).all() and (planned[:, GRIPPER] < 0.8001).all()


def test_a_pretrained_vla_is_trained_from_exported_bags(robotiq: Path, tmp_path: Path) -> None:
    pretrained = backbone_folder("paligemma", tmp_path / "paligemma", weights=True)
    config = VLALibraryTraining(
        "vla_library",
        robotiq,
        tmp_path / "model",
        Pretrained("paligemma", pretrained),
        loop(tmp_path, "run", 4),
        head=HeadSizes(hidden_size=32),
        horizon=2,
        window=2,
        validation_share=0.3,
        lora=None,
    )
    figures = run(config)
    assert figures["steps"] == 2 and all(np.isfinite(value) for value in figures.values())
    assert load_policy(config.out, threads=1).folder.gripper == COLUMNS[GRIPPER].name


def test_what_needs_the_simulator_is_said(robotiq: Path, tmp_path: Path) -> None:
    def vla(**choices: Any) -> VLATraining:
        return VLATraining(
            "vla",
            robotiq,
            tmp_path / "model",
            loop(tmp_path, "run", 12),
            TinyBackbone(dim=32, depth=1, heads=2),
            HeadSizes("fc", hidden_size=32),
            "one_step",
            horizon=2,
            validation_share=0.3,
            **choices,
        )

    with pytest.raises(ConfigError, match="privileged positions; set auxiliary: 0"):
        run(vla())
    with pytest.raises(ConfigError, match="privileged positions; set answers: 0"):
        run(vla(auxiliary=0.0, answers=0.5))
    with pytest.raises(ConfigError, match="moves one gripper, the data has 0: none"):
        run(vla(auxiliary=0.0, columns=Columns(grippers=())))
    with pytest.raises(ConfigError, match="moves one gripper, the data has 2: joint_0, joint_1"):
        run(vla(auxiliary=0.0, columns=Columns(grippers=("joint_0", "joint_1"))))
    keypoints = {"views": 1, "widths": [8, 8, 8], "features": 16}
    words = {
        "kind": "vlm",
        "stage": "words",
        "data": str(robotiq),
        "out": str(tmp_path / "model"),
        "tower": "x",
        "backbone": {"kind": "tiny", "keypoints": keypoints},
        "loop": to_plain(loop(tmp_path, "vlm")),
    }
    (tmp_path / "vlm.yaml").write_text(yaml.safe_dump(words))
    with pytest.raises(ConfigError, match="holds no privileged positions, of which captions"):
        train(tmp_path / "vlm.yaml", resume=False)
    assert VLMTraining.__doc__ is not None


def test_words_of_a_dataset_are_learned(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", task="fold the towel neatly")
    config = VLATraining(
        "vla",
        folder,
        tmp_path / "model",
        loop(tmp_path, "run", 12),
        TinyBackbone(dim=32, depth=1, heads=2),
        HeadSizes("fc", hidden_size=32),
        "one_step",
        horizon=2,
        auxiliary=0.0,
        validation_share=0.3,
    )
    run(config)
    words = json.loads((config.out / "words.json").read_text())
    assert {"fold", "towel", "neatly"} <= set(words)
    assert load_policy(config.out, threads=1).example == "fold the towel neatly"
    with pytest.raises(ConfigError, match=r"backbone\.vocabulary has room for"):
        run(replace(config, backbone=replace(config.backbone, vocabulary=300)))


@official
def test_states_and_actions_may_differ_in_width(tmp_path: Path) -> None:
    """As in LIBERO: 8 numbers of state, 7 of action, which are then absolute; read, and trained to a model folder."""
    columns = Columns(grippers=("gripper",), size=64)
    data = load_data(uwm(LIBERO, tmp_path, states=8, columns=columns), 4)
    assert data.state.shape == (42, 8) and data.plans.shape == (42, 1, 4, 7)
    assert data.meta["joints"] == ["dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper"]
    assert data.meta["state"][-2:] == ["finger_left", "finger_right"] and not data.relative.any()
    autoencoder(LIBERO, tmp_path, columns)
    config = uwm(LIBERO, tmp_path, states=8, views=2, columns=columns)
    assert np.isfinite(list(run(config).values())).all()
    policy = load_policy(config.out, threads=1)
    assert len(policy.contract.state_names) == 8 and policy.statistics.state_mean.shape == (8,)
    assert policy.infer(observation_of(data)).actions.shape == (4, 7)
    with pytest.raises(ContractError, match="state has 7 joints, the model wants 8"):
        policy.infer(replace(observation_of(data), state=data.state[:1, :7]))


@official
@pytest.mark.parametrize("name", ["video", "images", "files"])
def test_datasets_of_lerobot_itself_are_read(name: str) -> None:
    """Every set that LeRobot has written comes back as LeRobot reads it."""
    wanted = json.loads((LIBERO.parent / f"expected_{name}.json").read_text())
    data = load_lerobot(LIBERO.parent / name, 6, Columns(joints=tuple(f"joint_{k}" for k in range(7))))
    assert len(data.state) == wanted["frames"] and data.meta["episodes"] == wanted["episodes"]
    assert data.meta["tasks"] == sorted(wanted["tasks"], key=wanted["tasks"].get)
    for frame in wanted["frames_expected"]:
        row = frame["index"]
        np.testing.assert_array_equal(data.state[row], np.float32(frame["observation.state"]))
        np.testing.assert_array_equal(data.executed[row], np.float32(frame["action"]))
        assert (data.episode[row], data.frame[row]) == (frame["episode_index"], frame["frame_index"])
        assert data.meta["tasks"][data.task[row]] == frame["task"]
        for camera, images in data.images.items():
            for (y, x), colour in frame[f"observation.images.{camera}"]["pixels_yx_rgb"]:
                np.testing.assert_allclose(images[row, y, x] / 255, colour, atol=0.01)
