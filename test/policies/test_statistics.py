"""Normalisation is its own inverse's inverse, and survives the disk."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.policies.statistics import Statistics, load_statistics

JOINTS = ("a", "b", "gripper")


def statistics(seed: int) -> Statistics:
    rng = np.random.default_rng(seed)
    spread = lambda *shape: rng.uniform(0.01, 2, shape).astype(np.float32)  # noqa: E731
    return Statistics(JOINTS, np.array([True, True, False]), spread(3), spread(3), spread(5, 3), spread(5, 3))


@given(st.integers(0, 10_000))
def test_restore_inverts_normalise(seed):
    rng, stats = np.random.default_rng(seed), statistics(seed)
    state = rng.normal(size=(4, 3)).astype(np.float32)
    action = rng.normal(size=(4, 5, 3)).astype(np.float32)
    assert np.allclose(stats.restore_action(stats.normalise_action(action, state), state), action, atol=1e-5)


def test_relative_joints_follow_the_state_and_absolute_ones_do_not():
    stats, zero = statistics(0), np.zeros((1, 5, 3), dtype=np.float32)
    moved = stats.restore_action(zero, np.ones((1, 3), np.float32)) - stats.restore_action(
        zero, np.zeros((1, 3), np.float32)
    )
    assert np.allclose(moved, [1, 1, 0])


def test_the_disk_keeps_every_digit(tmp_path):
    stats = statistics(1)
    stats.save(tmp_path)
    loaded = load_statistics(tmp_path, JOINTS, 5)
    for name in ("state_mean", "state_std", "action_mean", "action_std", "relative"):
        assert np.array_equal(getattr(stats, name), getattr(loaded, name))
