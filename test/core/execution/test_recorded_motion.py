"""A recording is judged as a whole; what is followed of it stays within the limits."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from vla_ros.core.errors import ConfigError
from vla_ros.core.execution.commander import Commander
from vla_ros.core.execution.guard import Mode
from vla_ros.core.execution.recorded_motion import CommandStream, RecordedMotion
from vla_ros.core.robot import load_robot

ROBOT = load_robot("ur5e_tabletop")
HOME = np.array([0.0, -1.2, 1.5, -1.8, -1.57, 0.0, 0.0])
START_NS = 10**18


def recorded(seconds: float = 3.0, amplitude: float = 0.3) -> CommandStream:
    """A swing of the first joint, at the robot's rate; the times of reception jitter by 3 ms."""
    count = round(seconds * 100)
    jitter = np.random.default_rng(0).uniform(-3e6, 3e6, count)
    times = START_NS + (np.arange(count) * 1e7 + jitter).astype(np.int64)
    values = np.tile(HOME, (count, 1))
    values[:, 0] = amplitude * (1 - np.cos(np.arange(count) * 0.01 * 2))
    return CommandStream("/joint_commands", tuple(range(7)), np.sort(times), values)


def test_what_a_robot_did_is_replayed() -> None:
    assert RecordedMotion(ROBOT, [recorded()]).problem(1.0) == ""


@pytest.mark.parametrize(
    ("row", "column", "value", "said"),
    [
        (100, 1, np.nan, "/joint_commands at (0.99|1.00). s: shoulder_lift_joint is not finite"),
        (50, 2, np.inf, "/joint_commands at 0.(49|50). s: elbow_joint is not finite"),
        (200, 0, 1e308, "/joint_commands at (1.99|2.00). s: shoulder_pan_joint is outside its limits .1e.308."),
        (200, 2, 3.3, "elbow_joint is outside its limits"),
        (150, 3, -1.2, "/joint_commands at 1.(48|49). s: wrist_1_joint is faster than it may be"),
    ],
)
def test_a_line_names_topic_time_and_joint(row: int, column: int, value: float, said: str) -> None:
    stream = recorded()
    stream.values[row, column] = value
    problem = RecordedMotion(ROBOT, [stream]).problem(1.0)
    assert re.search(said, problem), problem


def test_a_jump_after_a_pause_is_a_jump() -> None:
    stream = recorded()
    later = CommandStream(stream.topic, stream.columns, stream.times_ns.copy(), stream.values)
    later.times_ns[150:] += 10 * 10**9
    later.values[150:, 4] += 1.0
    assert "wrist_2_joint is faster" in RecordedMotion(ROBOT, [later]).problem(1.0)


def test_speed_counts_as_it_is_replayed() -> None:
    stream = recorded(amplitude=1.2)  # up to 2.4 rad/s of 3.14
    assert RecordedMotion(ROBOT, [stream]).problem(1.0) == ""
    assert "is faster than it may be (rate 3)" in RecordedMotion(ROBOT, [stream]).problem(3.0)


def test_a_gripper_may_be_told_to_open_at_once() -> None:
    stream = recorded()
    stream.values[100:, 6] = 1.0
    assert RecordedMotion(ROBOT, [stream]).problem(1.0) == ""


def test_a_joint_without_commands_is_named() -> None:
    nothing = CommandStream("/joint_commands", tuple(range(7)), np.zeros(0, np.int64), np.zeros((0, 7)))
    with pytest.raises(ConfigError, match="no commands for shoulder_pan_joint"):
        RecordedMotion(ROBOT, [nothing])


def follow(motion: RecordedMotion, measured_from: np.ndarray, rate: float = 1.0) -> tuple[Any, np.ndarray]:
    """A commander that follows a recording, with a robot that does what it is told; (commander, commands)."""
    commander, now_ns, period_ns = Commander(ROBOT), 2 * 10**18, 10_000_000
    position, sent = measured_from.copy(), []
    for _ in range(30):
        now_ns += period_ns
        commander.on_state(now_ns, position, now_ns)
        if commander.arm(now_ns) is None:
            break
    began_ns = now_ns
    for k in range(400):
        now_ns += period_ns
        commander.on_state(now_ns, position, now_ns)
        if k % 10 == 0:
            moment_ns = motion.start_ns + round((now_ns - began_ns) * rate)
            commander.on_chunk(motion.plan(moment_ns, now_ns, rate), now_ns)
        verdict = commander.tick(now_ns)
        assert verdict.command is not None
        position = verdict.command
        sent.append(position)
    return commander, np.array(sent)


def test_what_is_sent_keeps_the_limits_and_follows_the_recording() -> None:
    stream = recorded()
    motion = RecordedMotion(ROBOT, [stream])
    commander, sent = follow(motion, HOME)
    assert commander.guard.mode is Mode.ARMED, commander.guard.reason
    speeds = np.diff(sent[:, :6], axis=0) / 0.01
    assert (np.abs(speeds) <= ROBOT.limits("max_velocity")[:6] + 1e-6).all()
    assert (np.abs(np.diff(speeds, axis=0)) / 0.01 <= ROBOT.limits("max_acceleration")[:6] * 1.05).all()
    expected = motion._at(motion.start_ns + np.arange(1, 401) * 10_000_000)
    assert np.abs(sent - expected)[:, :6].max() < 0.03


def test_a_recording_that_begins_elsewhere_is_not_followed() -> None:
    stream = recorded()
    stream.values[:, 1] += 0.9
    commander, sent = follow(RecordedMotion(ROBOT, [stream]), HOME)
    assert commander.guard.mode is Mode.FAULT and np.abs(sent - HOME).max() < 0.01


def test_plans_end_where_the_recording_ends() -> None:
    motion = RecordedMotion(ROBOT, [recorded()])
    plan = motion.plan(motion.end_ns + 10**9, 5, 1.0)
    assert np.allclose(plan.actions, motion.at(motion.end_ns), atol=1e-6)
    assert plan.stamp_ns == 5 and plan.start_ns > 5
