"""A gripper that only opens and closes: it does not chatter, and it does close."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_robot import MS, chunk_of, small_robot, stands

from vla_ros.core.errors import ConfigError
from vla_ros.core.execution.commander import Commander
from vla_ros.core.execution.gripper import Grippers, closes
from vla_ros.core.robot import GripperSpec, JointSpec, RobotSpec

SPEC = GripperSpec(close_above=0.6, open_below=0.4)
wishes = st.lists(st.floats(0.0, 1.0), max_size=60)


def binary_robot(spec: GripperSpec = SPEC) -> RobotSpec:
    robot = small_robot()
    return replace(robot, joints=(*robot.joints[:2], replace(robot.joints[2], gripper=spec)))


@given(wishes, st.booleans())
def test_it_changes_only_when_a_wish_crosses_the_far_threshold(wishes: list[float], closed: bool) -> None:
    for wish in wishes:
        after = closes(closed, wish, SPEC)
        assert after or wish <= SPEC.close_above
        assert not after or wish > SPEC.open_below
        assert after == closed or (wish > SPEC.close_above if after else wish <= SPEC.open_below)
        assert closes(after, wish, SPEC) == after  # the same wish again changes nothing
        closed = after


@given(st.lists(st.floats(0.41, 0.59), max_size=60), st.booleans())
def test_a_wavering_wish_between_the_thresholds_changes_nothing(wishes: list[float], closed: bool) -> None:
    assert all(closes(closed, wish, SPEC) == closed for wish in wishes)


@pytest.mark.parametrize(("closed_at", "open_end", "closed_end"), [("upper", 0.0, 1.0), ("lower", 1.0, 0.0)])
def test_it_is_at_one_of_its_ends_whichever_of_them_is_closed(
    closed_at: str, open_end: float, closed_end: float
) -> None:
    grippers = Grippers(binary_robot(replace(SPEC, closed_at=closed_at)))  # type: ignore[arg-type]
    grippers.start(np.array([0.0, 0.0, open_end]))
    for share, end in ((0.2, open_end), (0.55, open_end), (0.65, closed_end), (0.45, closed_end), (0.3, open_end)):
        wish = open_end + share * (closed_end - open_end)
        np.testing.assert_array_equal(grippers.decided(np.array([0.3, -0.3, wish])), [0.3, -0.3, end])


def test_it_starts_as_it_is_measured() -> None:
    grippers = Grippers(binary_robot())
    grippers.start(np.array([0.0, 0.0, 0.9]))
    assert grippers.decided(np.array([0.0, 0.0, 0.5]))[2] == 1.0


def test_without_the_block_a_gripper_follows_the_plan() -> None:
    assert Grippers(small_robot()).decided(np.array([0.1, 0.2, 0.55]))[2] == 0.55


def test_an_armed_robot_closes_and_stays_closed_under_a_noisy_plan() -> None:
    commander, now_ns, rng = Commander(binary_robot()), 1000 * MS, np.random.default_rng(0)
    position = np.array([0.1, -0.2, 0.0])
    stands(commander, position, now_ns)
    assert commander.arm(now_ns) is None
    stream = []
    for tick in range(200):
        now_ns += 10 * MS
        commander.on_state(now_ns, position, now_ns)
        if tick % 20 == 0:
            grip = (0.7 if tick else 0.3) + rng.uniform(-0.15, 0.15, 12)
            actions = np.column_stack([np.tile([0.1, -0.2], (12, 1)), grip])
            commander.on_chunk(chunk_of(now_ns - 50 * MS, actions), now_ns)
        command = commander.tick(now_ns).command
        assert command is not None
        position = command
        stream.append(command[2])
    assert (np.diff(stream) >= 0).all()
    assert stream[-1] == 1.0


def test_wrong_blocks_are_refused() -> None:
    with pytest.raises(ConfigError, match="thresholds must be 0 < open_below < close_above < 1"):
        GripperSpec(close_above=0.4, open_below=0.6)
    with pytest.raises(ConfigError, match="must be kind: gripper, got kind: revolute"):
        JointSpec("a", -1.0, 1.0, 2.0, 10.0, 100.0, gripper=SPEC)
