"""The witness: what came late or never, joints that are told and do not move, and the moment of each judgement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_robot import small_robot

from vla_ros.core.surprise.expectation import Expectation
from vla_ros.core.surprise.witness import Witness
from vla_ros.core.types import ActionChunk, Observation, Prediction

STEP_NS = 100_000_000
JOINTS = ("pan", "lift", "gripper")


class Model:
    """A world model that sees brightness, and believes that the robot did what `done` says."""

    done = np.zeros((12, 3), np.float32)

    def latents(self, frames: np.ndarray) -> np.ndarray:
        return frames.astype(np.float32)[:, ::4, ::4].mean(axis=-1)[:, None] / 255

    def explain(self, observation: Observation, future: Observation) -> ActionChunk:
        return ActionChunk(observation.stamp_ns, observation.stamp_ns + STEP_NS, STEP_NS, self.done, JOINTS)


@pytest.fixture
def witness() -> Witness:
    return Witness(Model(), small_robot(), STEP_NS)


def seen(step: int, value: int = 0, state: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Observation:
    frame = np.full((1, 64, 64, 3), value, np.uint8)
    return Observation(step * STEP_NS, {"front": frame}, np.array([state], np.float32), "push")


def expectation(value: int = 0) -> Expectation:
    frames = np.full((2, 64, 64, 3), value, np.uint8)
    latents = np.full((2, 2, 1, 16, 16), value / 255, np.float32)
    due_ns = np.array([6, 12]) * STEP_NS
    return Expectation(seen(0, value), Prediction(0, due_ns, {"front": frames}, {"front": latents}))


def test_each_moment_is_judged_once_and_when_it_has_come(witness):
    witness.expect(expectation())
    for step in range(6):
        witness.command(step * STEP_NS, np.zeros(3))
        witness.observe(seen(step))
        assert witness.judge() == []
    witness.observe(seen(6, value=255))
    (first,) = witness.judge()
    assert first.came is None and first.reading["front imagined"].max() == pytest.approx(1)
    for step in range(7, 13):
        assert witness.judge() == []
        witness.command(step * STEP_NS, np.array([0.2, 0.0, 0.0]))
        witness.observe(seen(step, value=255))
    (last,) = witness.judge()
    assert last.came is not None and last.came.images["front"].shape == (2, 64, 64, 3)
    assert np.allclose(last.reading["inverse arm"], [0.1, 0]) and np.allclose(last.reading["inverse gripper"], 0)
    assert witness.judge() == []


def test_what_nobody_imagined_is_read_while_something_is_imagined(witness):
    assert "front came" not in witness.observe(seen(0)), "nothing is imagined yet"
    witness.expect(expectation())
    thing = seen(1)
    thing.images["front"][0, 30:40, 30:40] = (0, 255, 0)
    reading = witness.observe(thing)
    assert reading["front came"][0] == pytest.approx(1)
    assert witness.observe(seen(2))["front went"] == 0, "the world model did not expect it to stay, either"
    assert "front came" not in witness.observe(seen(5)), "frames were lost in between"
    assert "front came" not in witness.observe(seen(7)), "what was imagined is over"


def test_an_expectation_whose_frame_was_lost_is_dropped(witness):
    witness.expect(expectation())
    witness.observe(seen(0))
    witness.observe(seen(14))
    assert witness.judge() == [] and not witness._waiting


def test_joints_are_read_only_while_they_are_commanded(witness):
    assert "arm follows" not in witness.observe(seen(1))
    for step in range(1, 41):
        witness.command(step * STEP_NS // 10, np.array([0.5, 0.0, 1.0]))
    reading = witness.observe(seen(4))
    assert np.allclose(reading["arm follows"], [0, 0, 0.5, 0]), "the pan does not follow"
    assert np.allclose(reading["gripper follows"], [0, 1])
    assert "arm follows" not in witness.observe(seen(20)), "a command of long ago"


def test_a_command_in_two_messages_counts_once_both_are_there(witness):
    witness.command(0, np.array([0.1, 0.2]), (0, 1))
    assert "arm follows" not in witness.observe(seen(1))
    for step in range(1, 41):
        witness.command(step * STEP_NS // 10, np.array([1.0]), (2,))
    assert np.allclose(witness.observe(seen(4))["arm follows"], [0, 0, 0.1, 0.2])


def test_a_frozen_camera_is_told_by_the_arm_that_moves(witness):
    ways = [witness.observe(seen(step, state=(0.1 * step, 0, 0)))["front still"][0] for step in range(4)]
    assert np.allclose(ways, [0, 0.1, 0.2, 0.3])


def test_a_gripper_of_any_unit_is_read_in_shares_of_its_stroke():
    """Fingers of 0 to 0.04 m that do not close are as surprising as those of 0 to 1; an arm joint stays in rad."""
    robot = small_robot()
    fingers = replace(robot.joints[2], lower=0.0, upper=0.04)
    witness = Witness(Model(), replace(robot, joints=(*robot.joints[:2], fingers)), STEP_NS)
    witness.expect(expectation())
    for step in range(1, 121):
        witness.command(step * STEP_NS // 10, np.array([0.5, 0.0, 0.04]))
    for step in range(1, 13):
        reading = witness.observe(seen(step))
    assert np.allclose(reading["arm follows"], [0, 0, 0.5, 0])
    assert np.allclose(reading["gripper follows"], [0, 1]), "the fingers stayed open"
    (last,) = (judged for judged in witness.judge() if judged.came is not None)
    assert np.allclose(last.reading["inverse arm"], [0.5, 0])
    assert np.allclose(last.reading["inverse gripper"], 1), "the pictures tell of open fingers"
