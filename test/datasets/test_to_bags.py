"""Demonstrations that go through rosbags and back: what is trained on must be what was shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vla_ros.bags.episodes.assembly import EpisodeOptions
from vla_ros.bags.info import missing_topics
from vla_ros.bags.reading.reader import open_bag
from vla_ros.core.errors import ConfigError
from vla_ros.core.robot import load_robot
from vla_ros.datasets.demonstrations import Demonstrations, load_demonstrations
from vla_ros.datasets.expert import CAMERAS, STEP_NS, collect_shard, joints_meta
from vla_ros.datasets.export import export
from vla_ros.datasets.lerobot.columns import Columns
from vla_ros.datasets.lerobot.reader import load_lerobot
from vla_ros.datasets.to_bags import write_bags
from vla_ros.sim.tabletop.tasks import TASKS, instruction_to_task

ROBOT = load_robot("ur5e_tabletop")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Demonstrations:
    folder = tmp_path_factory.mktemp("shown")
    collect_shard(folder / "shard_000", [0, 1, 2])
    meta = {"tasks": list(TASKS), **joints_meta(), "cameras": list(CAMERAS), "step_ns": STEP_NS, "horizon": 12}
    (folder / "meta.json").write_text(json.dumps(meta))
    return load_demonstrations(folder)


@pytest.fixture(scope="module")
def bags(shown: Demonstrations, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bags") / "bags"
    assert list(write_bags(shown, ROBOT, folder)) == [len(np.unique(shown.episode))]
    return sorted(folder.iterdir())


@pytest.mark.parametrize("actions", ["command", "chunk"])
def test_what_comes_out_of_the_bags_is_what_went_in(
    shown: Demonstrations, bags: list[Path], tmp_path: Path, actions: str
) -> None:
    export(bags, ROBOT, EpisodeOptions(actions=actions), "lerobot", tmp_path / "set", lossless=True)  # type: ignore[arg-type]
    data = load_lerobot(tmp_path / "set", 12, Columns())
    count = len(data.state)
    assert count == len(shown.state) - 1  # the very last frame has nothing after it that says its command was all
    np.testing.assert_array_equal(data.state, shown.state[:count])
    for camera in CAMERAS:
        np.testing.assert_array_equal(data.images[camera], shown.images[camera][:count])
    meant = {"command": shown.executed, "chunk": shown.plans[:, 0, 0]}[actions]
    np.testing.assert_array_equal(data.executed, meant[:count])
    numbers = np.unique(shown.episode, return_inverse=True)[1]
    np.testing.assert_array_equal(data.episode, numbers[:count])
    names = [instruction_to_task(data.meta["tasks"][k]).name for k in data.task]  # type: ignore[union-attr]
    assert names == [shown.meta["tasks"][k] for k in shown.task[:count]]


def test_such_a_bag_keeps_the_contract(bags: list[Path]) -> None:
    with open_bag(bags[0]) as bag:
        assert set(missing_topics(bag, ROBOT)) <= {"/policy/timing", "/commander/timing", "/diagnostics"}


def test_nothing_is_written_over(shown: Demonstrations, bags: list[Path]) -> None:
    with pytest.raises(ConfigError, match="not empty"):
        list(write_bags(shown, ROBOT, bags[0].parent))
