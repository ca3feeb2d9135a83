"""The simulator's promises: the same under a seed, the contract's units, servos that follow, cameras that see."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from vla_ros.core.errors import ConfigError, ContractError
from vla_ros.sim.tabletop.scene import BLOCK_HALF, COLOURS
from vla_ros.sim.tabletop.tasks import TASKS
from vla_ros.sim.tabletop.ur5e import LOWER, UPPER
from vla_ros.sim.tabletop.world import CAMERAS, Tabletop


def trace(tabletop: Tabletop, seed: int) -> str:
    """A hash of joints and images over half a second of moving."""
    tabletop.reset(seed, "lift_red")
    digest, home = hashlib.sha256(), tabletop.joint_positions()
    for step in range(5):
        tabletop.command(home + 0.02 * step)
        tabletop.advance(0.1)
        digest.update(tabletop.joint_positions().tobytes() + tabletop.joint_velocities().tobytes())
        for camera in ("front", "wrist"):
            digest.update(tabletop.render(camera, 64, 64).tobytes())
    return digest.hexdigest()


def pixels(image: NDArray[np.uint8], channel: int) -> int:
    """How many pixels are clearly of one primary colour."""
    rest = np.delete(image, channel, axis=-1).max(axis=-1).astype(int)
    return int((image[..., channel].astype(int) - rest > 50).sum())


def test_the_same_seed_gives_the_same_joints_and_images(tabletop: Tabletop) -> None:
    first = trace(tabletop, 7)
    assert trace(tabletop, 8) != first
    assert trace(tabletop, 7) == first


def test_a_second_simulator_agrees_with_the_first(tabletop: Tabletop) -> None:
    other = Tabletop()
    try:
        assert trace(other, 7) == trace(tabletop, 7)
    finally:
        other.close()


def test_the_scene_does_not_depend_on_the_task(tabletop: Tabletop) -> None:
    def blocks(task: str) -> NDArray[np.float64]:
        tabletop.reset(5, task)
        return np.stack(list(tabletop.state().blocks.values()))

    np.testing.assert_array_equal(blocks("lift_red"), blocks("open_drawer"))


def test_an_episode_starts_at_rest_with_room_between_the_blocks_and_nothing_done(tabletop: Tabletop) -> None:
    for seed in range(10_000, 10_040):
        tabletop.reset(seed, list(TASKS)[seed % len(TASKS)])
        state = tabletop.state()
        blocks = np.stack([state.blocks[colour] for colour in COLOURS])
        apart = np.abs(blocks[:, None, :2] - blocks[None, :, :2]).max(axis=-1) + np.eye(3)
        assert apart.min() > 2.5 * BLOCK_HALF
        assert (np.abs(blocks[:, 1]) < 0.16).all() and (blocks[:, 0] > 0.3).all() and (blocks[:, 0] < 0.56).all()
        np.testing.assert_allclose(blocks[:, 2], BLOCK_HALF, atol=2e-3)
        assert not tabletop.success() and state.drawer < 0.01 and tabletop.time_s == 0.0


@pytest.mark.parametrize("gripper", [0.0, 1.0])
def test_servos_follow_within_a_few_hundredths_of_a_second(tabletop: Tabletop, gripper: float) -> None:
    tabletop.reset(0, "reach_red")
    target = tabletop.joint_positions() + np.array([0.05, 0.03, -0.03, 0.04, 0.03, 0.05, 0.0])
    target[6] = gripper
    tabletop.command(target)
    tabletop.advance(0.3)
    np.testing.assert_allclose(tabletop.joint_positions()[:6], target[:6], atol=0.01)
    assert tabletop.joint_positions()[6] == pytest.approx(gripper, abs=0.03)


def test_a_held_command_holds_the_arm_against_gravity(tabletop: Tabletop) -> None:
    tabletop.reset(0, "reach_red")
    start = tabletop.joint_positions()
    tabletop.command(start)
    tabletop.advance(2.0)
    np.testing.assert_allclose(tabletop.joint_positions()[:6], start[:6], atol=2e-3)
    assert np.abs(tabletop.joint_velocities()).max() < 1e-2


def test_commands_beyond_the_limits_are_cut_to_them(tabletop: Tabletop) -> None:
    tabletop.reset(0, "reach_red")
    tabletop.command([*tabletop.joint_positions()[:5], 100.0, 7.0])
    tabletop.advance(6.0)
    joints = tabletop.joint_positions()
    assert (joints[:6] <= UPPER + 0.05).all() and (joints[:6] >= LOWER - 0.05).all()
    assert 0.0 <= joints[6] <= 1.0 and np.isfinite(joints).all()


@pytest.mark.parametrize("target", [np.zeros(6), np.full(7, np.nan), [0, 0, 0, 0, 0, 0, np.inf]])
def test_a_wrong_command_is_refused_and_changes_nothing(tabletop: Tabletop, target: NDArray[np.float64]) -> None:
    tabletop.reset(0, "reach_red")
    before = tabletop.joint_positions()
    with pytest.raises(ContractError, match="7 finite numbers"):
        tabletop.command(target)
    tabletop.advance(0.2)
    np.testing.assert_allclose(tabletop.joint_positions()[:6], before[:6], atol=2e-3)


def test_unknown_names_are_refused_with_the_nearest(tabletop: Tabletop) -> None:
    with pytest.raises(ConfigError, match="did you mean 'lift_red'"):
        tabletop.reset(0, "lift_rd")
    with pytest.raises(ConfigError, match="did you mean 'front'"):
        tabletop.render("fron", 64, 64)


def test_begin_counts_success_from_the_present_state(tabletop: Tabletop) -> None:
    tabletop.reset(0, "open_drawer")
    assert tabletop.task.name == "open_drawer"
    tabletop.begin("push_left_red")
    assert tabletop.task.name == "push_left_red" and not tabletop.success()


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 48)])
def test_images_have_the_size_that_was_asked_for(tabletop: Tabletop, camera: str, width: int, height: int) -> None:
    image = tabletop.render(camera, width, height)
    assert image.shape == (height, width, 3) and image.dtype == np.uint8
    assert image.std() > 10


def test_an_image_is_the_callers_to_keep(tabletop: Tabletop) -> None:
    tabletop.reset(1, "reach_red")
    first = tabletop.render("front", 64, 64)
    kept = first.copy()
    tabletop.reset(2, "reach_red")
    tabletop.render("front", 64, 64)
    np.testing.assert_array_equal(first, kept)


def test_the_front_camera_sees_every_block(tabletop: Tabletop) -> None:
    hidden = 0
    for seed in range(10_000, 10_020):
        tabletop.reset(seed, "reach_red")
        image = tabletop.render("front", 64, 64)
        hidden += sum(pixels(image, channel) < 4 for channel in range(3))
    assert hidden <= 3, f"{hidden} of 60 blocks are hidden at the start"


def test_an_image_shows_the_present_joints_not_the_last_steps(tabletop: Tabletop) -> None:
    tabletop.reset(3, "reach_red")
    before = tabletop.render("wrist", 64, 64)
    tabletop.command(tabletop.joint_positions() + np.array([0.3, 0, 0, 0, 0, 0, 0]))
    tabletop.advance(0.3)
    assert np.abs(tabletop.render("wrist", 64, 64).astype(int) - before).mean() > 2
