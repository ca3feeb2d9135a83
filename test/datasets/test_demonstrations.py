"""What `vla-ros demos` writes: complete, aligned, clean labels, balanced, repeatable, and read by the training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vla_ros.cli.main import main
from vla_ros.core.errors import ConfigError
from vla_ros.datasets.demonstrations import Demonstrations, load_demonstrations
from vla_ros.datasets.expert import (
    CLEAN,
    LAST_SEED,
    Disturber,
    Noise,
    Recorder,
    collect_demonstrations,
    collect_shard,
    record,
)
from vla_ros.sim.tabletop.expert import plan_many
from vla_ros.sim.tabletop.tasks import TASKS
from vla_ros.sim.tabletop.ur5e import forward
from vla_ros.sim.tabletop.world import Tabletop

NAMES = list(TASKS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demonstrations") / "tabletop"
    assert list(collect_demonstrations(out, episodes=16, seed=0, processes=2, shard_size=8))[-1] == 16
    return out


@pytest.fixture(scope="module")
def data(folder: Path) -> Demonstrations:
    return load_demonstrations(folder)


def test_every_array_has_a_row_for_every_frame(data: Demonstrations) -> None:
    frames = data.meta["frames"]
    shapes = {"state": (7,), "executed": (7,), "plans": (4, 12, 7), "plan_task": (4,), "aux": (15,)}
    shapes |= dict.fromkeys(("episode", "frame", "task"), ())
    assert frames > 100
    assert {name: getattr(data, name).shape[1:] for name in shapes} == shapes
    assert {len(getattr(data, name)) for name in shapes} == {frames}
    for camera in ("front", "wrist"):
        assert data.images[camera].shape == (frames, 64, 64, 3) and data.images[camera].dtype == np.uint8
    assert all(np.isfinite(array).all() for array in (data.state, data.executed, data.plans, data.aux))


def test_meta_says_how_they_were_made(data: Demonstrations) -> None:
    meta = data.meta
    assert meta["tasks"] == NAMES and meta["cameras"] == ["front", "wrist"] and len(meta["joints"]) == 7
    assert (meta["step_ns"], meta["horizon"], meta["seed"], meta["episodes"]) == (100_000_000, 12, 0, 16)
    attempts = [tuple(map(int, counts.split("/"))) for counts in meta["expert_success"].values()]
    assert sum(attempted for _, attempted in attempts) == 16
    assert sum(succeeded for succeeded, _ in attempts) >= 15


def test_frames_count_up_within_their_episode(data: Demonstrations) -> None:
    for episode in np.unique(data.episode):
        rows = np.flatnonzero(data.episode == episode)
        np.testing.assert_array_equal(rows, np.arange(rows[0], rows[0] + len(rows)))
        np.testing.assert_array_equal(data.frame[rows], np.arange(len(rows)))
        assert len(set(data.task[rows].tolist())) == 1


def test_the_own_task_is_planned_first_and_the_others_differ(data: Demonstrations) -> None:
    np.testing.assert_array_equal(data.plan_task[:, 0], data.task)
    assert all(len(set(row)) == 4 for row in data.plan_task.tolist())
    assert data.plan_task.min() >= 0 and data.plan_task.max() < len(NAMES)


def test_privileged_positions_belong_to_the_frames_state(data: Demonstrations) -> None:
    tips = forward(data.state[:, :6].astype(np.float64))[0]
    np.testing.assert_allclose(data.aux[:, 12:], tips, atol=1e-4)


def test_labels_stay_clean_and_start_where_the_arm_is(data: Demonstrations, folder: Path) -> None:
    planned = forward(data.plans[:, 0, 0, :6].astype(np.float64))[0]
    assert np.linalg.norm(planned - data.aux[:, 12:], axis=1).max() < 0.03
    strayed = np.abs(data.executed - data.plans[:, 0, 0]).max(axis=1)
    displaced = np.concatenate([np.load(shard / "displaced.npy") for shard in sorted(folder.glob("shard_*"))])
    assert displaced.dtype == bool and 0 < displaced.mean() < 0.4
    assert strayed[~displaced].max() < 0.03  # jitter only
    assert np.median(strayed[displaced]) > 0.02


def test_the_same_seeds_give_the_same_frames(folder: Path, tmp_path: Path) -> None:
    collect_shard(tmp_path, [0, 1])
    for name in ("front", "wrist", "state", "plans", "task"):
        again = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_array_equal(again, np.load(folder / "shard_000" / f"{name}.npy")[: len(again)])


@pytest.fixture(scope="module")
def tabletop() -> Iterator[Tabletop]:
    simulator = Tabletop()
    yield simulator
    simulator.close()


def test_a_recorded_image_shows_the_recorded_state(tabletop: Tabletop) -> None:
    tabletop.reset(0, "reach_red")
    state, front = tabletop.state(), tabletop.render("front", 64, 64)
    recorder = Recorder()
    assert record(tabletop, recorder, 0, "reach_red", 40, np.random.default_rng(0), CLEAN)
    columns = recorder.columns
    np.testing.assert_array_equal(columns["front"][0], front)
    np.testing.assert_allclose(columns["state"][0][:6], state.joints, atol=1e-6)
    np.testing.assert_allclose(columns["plans"][0][0], plan_many(state, [TASKS["reach_red"]])[0], atol=1e-5)
    np.testing.assert_array_equal(columns["executed"][0], columns["plans"][0][0][0])
    assert not any(columns["displaced"])


def test_a_failed_attempt_says_so_and_can_be_forgotten(tabletop: Tabletop) -> None:
    tabletop.reset(0, "open_drawer")
    recorder = Recorder()
    recorder.add(task=np.int8(0))
    assert not record(tabletop, Recorder(), 0, "open_drawer", 2, np.random.default_rng(0), CLEAN)
    recorder.add(task=np.int8(1))
    recorder.drop_last(1)
    assert recorder.columns["task"] == [0]


def test_bursts_last_two_to_four_steps_and_leave_the_gripper_in_its_range() -> None:
    disturb, target = Disturber(Noise(), np.random.default_rng(0)), np.array([0.0] * 6 + [1.0])
    executed, displaced = [], []
    for _ in range(3000):
        executed.append(disturb(target))
        displaced.append(disturb.displaced)
    share = np.mean(displaced)
    assert 0.08 < share < 0.25
    assert set(np.array(executed)[:, 6].tolist()) == {0.0, 1.0}
    calm = np.array(executed)[~np.array(displaced)]
    assert calm[:, :6].std() == pytest.approx(Noise().jitter, rel=0.1)


@pytest.mark.parametrize(("episodes", "seed"), [(1, LAST_SEED + 1), (2, LAST_SEED), (0, 0), (1, -1)])
def test_evaluations_seeds_and_empty_requests_are_refused(tmp_path: Path, episodes: int, seed: int) -> None:
    with pytest.raises(ConfigError, match=r"seeds must be 0 to 9999|episodes must be > 0"):
        next(collect_demonstrations(tmp_path / "new", episodes, seed, processes=1))
    assert not (tmp_path / "new").exists()


def test_finished_demonstrations_are_not_overwritten(folder: Path) -> None:
    with pytest.raises(ConfigError, match="holds demonstrations already"):
        next(collect_demonstrations(folder, 1, 0, processes=1))


def test_the_command_writes_and_reports_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "few"
    assert main(["demos", "--out", str(out), "--episodes", "1", "--processes", "1", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed == json.loads((out / "meta.json").read_text()) and printed["episodes"] == 1
    assert main(["demos", "--out", str(out), "--episodes", "1", "--processes", "1"]) == 2
    assert "holds demonstrations already" in capsys.readouterr().err
