"""Anomalies change what they say, and nothing before it is their time."""

from __future__ import annotations

import numpy as np
import pytest

from vla_ros.core.errors import ConfigError
from vla_ros.sim.tabletop.anomalies import ANOMALIES, named
from vla_ros.sim.tabletop.world import Tabletop


@pytest.fixture
def table():
    found = Tabletop()
    found.reset(3, "lift_red")
    yield found
    found.close()


def picture(table: Tabletop, camera: str = "front") -> np.ndarray:
    return table.render(camera, 64, 64).astype(int)


def disturb(table: Tabletop, name: str, camera: str = "front") -> None:
    change = named(name).disturb
    assert change is not None
    change(table, np.random.default_rng(0), camera)


def test_every_anomaly_has_a_name_and_a_wrong_one_is_refused():
    assert len({anomaly.name for anomaly in ANOMALIES}) == len(ANOMALIES) == 7
    with pytest.raises(ConfigError, match="did you mean 'camera frozen'"):
        named("camera frosen")


def test_one_block_lies_elsewhere(table):
    before = table.state().blocks
    disturb(table, "block teleported")
    moved = [c for c, place in table.state().blocks.items() if np.linalg.norm(place - before[c]) > 0.03]
    assert len(moved) == 1


def test_a_blocked_gripper_stays_and_an_arm_goes_on(table):
    command = table.joint_positions()
    command[0] += 0.2
    command[6] = 1.0
    disturb(table, "gripper blocked")
    for _ in range(50):
        table.command(command)
        table.advance(0.01)
    now = table.joint_positions()
    assert now[6] < 0.02 and abs(now[0] - command[0]) < 0.01


def test_a_weakened_joint_lags_five_times_as_far():
    lags = []
    for weak in (False, True):
        table = Tabletop()
        table.reset(3, "lift_red")
        target = table.joint_positions()
        for step in range(60):
            target[0] += 0.005
            table.command(target)
            table.advance(0.01)
            if step == 20 and weak:
                disturb(table, "actuator weakened")
        lags.append(target[0] - table.joint_positions()[0])
    assert 3 < lags[1] / lags[0] < 7, lags


@pytest.mark.parametrize(("name", "share"), [("camera shifted", 0.1), ("lights changed", 0.9)])
def test_a_camera_or_a_lamp_changes_much_of_a_picture(table, name, share):
    before, other = picture(table), picture(table, "wrist")
    disturb(table, name)
    assert (np.abs(picture(table) - before).max(axis=-1) > 8).mean() > share
    if name == "camera shifted":
        assert np.array_equal(picture(table, "wrist"), other)


def test_a_ball_is_seen_and_a_new_table_is_clean(table):
    before = picture(table)
    disturb(table, "distractor added")
    changed = (np.abs(picture(table) - before).max(axis=-1) > 40).sum()
    assert 5 < changed < 200
    clean = Tabletop()
    clean.reset(3, "lift_red")
    assert np.array_equal(picture(clean), before)
    clean.close()


def test_what_cannot_show_waits(table):
    still, moving, closing = table.joint_positions(), table.joint_positions(), table.joint_positions()
    moving[1] += 0.02
    closing[6] = 1.0
    assert not named("actuator weakened").shows(table, still) and named("actuator weakened").shows(table, moving)
    assert not named("gripper blocked").shows(table, moving) and named("gripper blocked").shows(table, closing)
    assert named("lights changed").shows(table, still)
