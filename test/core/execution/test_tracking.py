"""Commands within limits of position, velocity, acceleration and jerk, whatever the plan; on it where they allow it."""

from __future__ import annotations

import time
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_robot import MS, STEP_NS, chunk_of, small_robot, stands

from vla_ros.core.execution.commander import Commander
from vla_ros.core.execution.knots import Knots
from vla_ros.core.execution.modes import EXECUTIONS, blend_of
from vla_ros.core.execution.smoothing import MotionLimits, SmoothPath, smooth
from vla_ros.core.execution.tracking import Tracker
from vla_ros.core.robot import load_robot
from vla_ros.core.types import ActionChunk


def limits_of(joints: int, velocity: float, acceleration: float, jerk: float) -> MotionLimits:
    return MotionLimits(*(np.full(joints, limit) for limit in (velocity, acceleration, jerk)))


def derivatives(positions: np.ndarray, dt_s: float) -> list[float]:
    """The largest velocity, acceleration and jerk in a recorded stream (N, A): that of a robot that is sent it."""
    return [float(np.abs(np.diff(positions, n, axis=0)).max(initial=0.0)) / dt_s**n for n in (1, 2, 3)]


def track(tracker: Tracker, path: SmoothPath, start_ns: int, ticks: int, dt_ms: int = 5) -> np.ndarray:
    tracker.follow(path, start_ns)
    moments = start_ns + np.arange(1, ticks + 1) * dt_ms * MS
    return np.stack([tracker.step(int(now_ns), dt_ms / 1000)[0] for now_ns in moments])


plans = st.lists(
    st.tuples(
        st.sampled_from([20, 50, 100]),  # ms between knots
        st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=10),
        st.booleans(),  # from where the joint is, or from anywhere
        st.integers(1, 150),  # ticks until the next plan
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(
    plans,
    st.sampled_from([2, 5, 10, 20]),
    st.floats(0.5, 4.0),
    st.floats(2.0, 15.0),
    st.floats(5.0, 100.0),
    st.sampled_from([(-1.0, 1.5), (-9.0, 9.0)]),  # the second are far from everything
)
def test_no_plan_gets_a_stream_of_commands_out_of_its_limits(
    happenings: list[tuple[int, list[float], bool, int]],
    dt_ms: int,
    velocity: float,
    acceleration: float,
    ratio: float,
    bounds: tuple[float, float],
) -> None:
    limits = limits_of(1, velocity, acceleration, acceleration * ratio)
    lower, upper = bounds
    tracker, now_ns = Tracker(np.array([lower]), np.array([upper]), limits), 0
    tracker.start(np.array([0.2]))
    stream = [np.array([[0.2]])]
    for step_ms, values, from_here, ticks in happenings:
        wishes = np.array(values) + (tracker.state[0, 0] - values[0] if from_here else 0.0)
        knots = Knots(now_ns + np.arange(len(wishes)) * step_ms * MS, wishes[:, None])
        stream.append(track(tracker, smooth(knots, now_ns, limits), now_ns, ticks, dt_ms))
        now_ns += ticks * dt_ms * MS
    positions = np.concatenate(stream)
    assert positions.min() >= lower - 1e-8
    assert positions.max() <= upper + 1e-8
    for found, limit in zip(derivatives(positions, dt_ms / 1000), limits, strict=True):
        assert found <= limit[0] * 1.001
    assert tracker.failures == 0


@given(st.floats(-0.3, 0.3), st.floats(-1.0, 1.0))
def test_a_joint_off_its_plan_comes_to_it_and_then_stays_on_it(off: float, speed: float) -> None:
    limits = limits_of(1, 3.0, 8.0, 400.0)
    tracker = Tracker(np.array([-9.0]), np.array([9.0]), limits)
    tracker.start(np.array([off]))
    path = smooth(Knots(np.array([0, 2000 * MS]), np.array([[0.0], [2 * speed]])), 0, limits)
    stream = track(tracker, path, 0, 300)
    wishes = np.stack([path.at(tick * 5 * MS)[0] for tick in range(1, 301)])
    np.testing.assert_allclose(stream[160:], wishes[160:], atol=1e-4)  # 0.8 s
    np.testing.assert_allclose(stream[240:], wishes[240:], atol=1e-9)  # 1.2 s
    beyond = np.sign(off) * (wishes - stream)[:, 0]
    assert speed * off > 0 or beyond.max() < 0.05 + 0.3 * abs(speed)  # nor does it shoot far past it


def test_on_a_plan_within_limits_it_is_exactly_on_it_at_any_rate_and_however_ticks_come() -> None:
    t = np.arange(0, 3000, 100)
    knots = Knots(t * MS, 0.3 * np.sin(2 * np.pi * t / 3000)[:, None])
    limits, rng = limits_of(1, 3.0, 8.0, 400.0), np.random.default_rng(0)
    path = smooth(knots, 500 * MS, limits)
    for period_ms in (2, 5, 20):
        tracker, now_ns = Tracker(np.array([-1.0]), np.array([1.0]), limits), 500 * MS
        tracker.start(path.at(now_ns)[0])
        tracker.follow(path, now_ns)
        while now_ns < 2700 * MS:
            dt_ns = int(rng.uniform(0.1, 1.0) * period_ms * MS)
            now_ns += dt_ns
            position = tracker.step(now_ns, dt_ns / 1e9)[0]
            if now_ns > 1200 * MS:
                assert position == pytest.approx(path.at(now_ns)[0], abs=1e-6)


def test_on_the_way_back_to_a_fast_plan_both_together_keep_the_limits() -> None:
    limits = limits_of(1, 2.0, 10.0, 100.0)
    tracker = Tracker(np.array([-9.0]), np.array([9.0]), limits)
    tracker.start(np.array([0.0]))
    path = smooth(Knots(np.array([0, 1500, 3000]) * MS, np.array([[0.3], [3.0], [3.6]])), 0, limits)
    stream = track(tracker, path, 0, 400)
    assert stream[-1] > 3.0
    for found, limit in zip(derivatives(stream, 0.005), limits, strict=True):
        assert found <= limit[0] * 1.001


def test_from_outside_its_bounds_a_joint_only_comes_closer() -> None:
    limits = limits_of(1, 2.0, 8.0, 400.0)
    tracker = Tracker(np.array([-1.0]), np.array([1.0]), limits)
    tracker.start(np.array([1.08]))
    stream = track(tracker, SmoothPath(Knots(np.array([0]), np.array([[3.0]])), 100 * MS, 0), 0, 200)
    assert (np.diff(stream[:, 0]) <= 1e-9).all()
    assert stream[-1] == pytest.approx(1.0)


def test_without_a_path_it_stands_still_exactly() -> None:
    tracker = Tracker(np.array([-1.0]), np.array([1.0]), limits_of(1, 2.0, 8.0, 400.0))
    tracker.start(np.array([0.1]))
    assert [tracker.step(tick * MS, 0.001)[0, 0] for tick in range(100)] == [0.1] * 100


def test_where_ruckig_has_no_answer_the_joints_brake_within_their_limits() -> None:
    limits = limits_of(2, 2.0, 8.0, 400.0)
    tracker = Tracker(np.full(2, -1.0), np.full(2, 1.0), limits)
    tracker.start(np.zeros(2))
    path = smooth(Knots(np.array([0, 1000 * MS]), np.array([[0.0, 0.0], [0.8, 0.4]])), 0, limits)
    moving = track(tracker, path, 0, 100)
    tracker.follow(SmoothPath(Knots(np.array([0]), np.full((1, 2), np.nan)), 100 * MS, 0), 500 * MS)
    stopping = np.stack([tracker.step((500 + 5 * n) * MS, 0.005)[0] for n in range(1, 101)])
    assert tracker.failures == 100
    for found, limit in zip(derivatives(np.concatenate([moving, stopping]), 0.005), limits, strict=True):
        assert found <= limit[0] * 1.001
    assert (stopping[-1] == stopping[-50]).all()


@pytest.mark.parametrize("mode", sorted(EXECUTIONS))
@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.integers(0, 150), st.lists(st.floats(-0.4, 0.4), min_size=4, max_size=24)),
        max_size=8,
    )
)
def test_an_armed_commander_keeps_every_limit_in_every_mode(
    mode: str, chunks: list[tuple[int, int, list[float]]]
) -> None:
    """The arm's stream on a fixed period, through every stop."""
    commander, now_ns = Commander(small_robot(), blend_of(mode)), 1000 * MS
    position = np.array([0.1, -0.2, 0.5])
    stands(commander, position, now_ns)
    assert commander.arm(now_ns) is None
    stream = [position]
    for ticks, age_ms, offsets in chunks:
        actions = stream[-1] + np.resize(offsets, (len(offsets) // 2, 2)) @ np.eye(2, 3)
        commander.on_chunk(chunk_of(now_ns - age_ms * MS, actions), now_ns)
        for _ in range(ticks):
            now_ns += 10 * MS
            commander.on_state(now_ns, stream[-1], now_ns)
            verdict = commander.tick(now_ns)
            assert verdict.command is not None
            stream.append(verdict.command)
    arm = np.array(stream)[:, :2]
    for found, limit in zip(derivatives(arm, 0.01), (2.0, 10.0, 100.0), strict=True):
        assert found <= limit * 1.001


def test_a_tick_of_seven_joints_takes_well_under_a_millisecond() -> None:
    robot = load_robot("ur5e_tabletop")
    commander, now_ns = Commander(robot), 1000 * MS
    home = np.array([-0.2, -1.5, 1.9, -1.97, -1.57, -1.77, 0.0])
    stands(commander, home, now_ns)
    commander.arm(now_ns)
    spent = []
    for tick in range(400):
        now_ns += 5 * MS
        commander.on_state(now_ns, home, now_ns)
        if tick % 40 == 0:
            ramp = home + 0.01 * np.arange(1, 13)[:, None]
            commander.on_chunk(chunk_of(now_ns - STEP_NS, ramp, robot.joint_names), now_ns)
        began = time.process_time()
        commander.tick(now_ns)
        spent.append(time.process_time() - began)
    print(f"a tick of 7 joints: {np.median(spent) * 1e3:.3f} ms, p99 {np.percentile(spent, 99) * 1e3:.3f} ms")
    assert np.median(spent) < 0.001


def gentle_chunk(rng: np.random.Generator, position: np.ndarray, stamp_ns: int, limits: MotionLimits) -> ActionChunk:
    """A plan from about `position` on, at most as fast as the arm may be, which may end while it moves."""
    wishes = np.cumsum(rng.normal(0, 0.5, (int(rng.integers(3, 13)), 2)), axis=0)
    steps = np.clip(wishes, -1, 1) * rng.choice([0.1, 0.3, 0.6]) * limits.velocity * STEP_NS / 1e9
    return chunk_of(stamp_ns, np.column_stack([position[:2] + np.cumsum(steps, axis=0), np.full(len(steps), 0.5)]))


def test_whenever_chunks_and_ticks_come_the_row_of_commands_keeps_every_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks between ticks, answered at once; ticks early and late. Many steps on the way that needs no checks."""
    checked = Mock(side_effect=Tracker._reaches)
    monkeypatch.setattr(Tracker, "_reaches", lambda *given: checked(*given))
    limits, period_ns, rng = MotionLimits(*np.array([[2.0], [10.0], [100.0]])), 10 * MS, np.random.default_rng(0)
    moved = 0
    for run in range(250):
        commander, due_ns, stream = Commander(small_robot(), blend_of(sorted(EXECUTIONS)[run % 5])), 1000 * MS, []
        position = np.array([0.1, -0.2, 0.5])
        stands(commander, position, due_ns)
        assert commander.arm(due_ns) is None
        for _ in range(5):
            came_ns = due_ns + int(rng.uniform(0, period_ns))
            commander.on_chunk(gentle_chunk(rng, position, came_ns - 30 * MS, limits), came_ns)
            if rng.random() < 0.7:
                commander.tick(came_ns, periodic=False)
            for _ in range(int(rng.integers(3, 40))):
                due_ns += period_ns
                now_ns = due_ns + int(rng.uniform(-0.2, 0.4) * period_ns)
                commander.on_state(now_ns, position, now_ns)
                verdict = commander.tick(now_ns)
                assert verdict.command is not None and verdict.moment_ns is not None
                position = verdict.command
                stream.append((verdict.moment_ns, position[:2]))
        rows = np.split(np.arange(len(stream)), 1 + np.flatnonzero(np.diff([at for at, _ in stream]) != period_ns))
        for row in rows:
            found = derivatives(np.array([stream[number][1] for number in row]), 0.01)
            for value, limit in zip(found, (2.0, 10.0, 100.0), strict=True):
                assert value <= limit * 1.001, f"run {run}"
        moved += len(stream)
    assert 0.2 < checked.call_count / moved < 0.8


def test_a_chunk_that_comes_between_two_periods_leaves_even_motion_even() -> None:
    rng, moments, positions = np.random.default_rng(0), [], []
    commander, due_ns = Commander(small_robot()), 1000 * MS
    stands(commander, np.array([0.0, 0.0, 0.5]), due_ns)
    assert commander.arm(due_ns) is None
    for tick in range(300):
        since_s = (due_ns - 1000 * MS + STEP_NS * np.arange(1, 13)) / 1e9
        line = np.outer(since_s, [0.2, -0.1, 0.0]) + np.array([0, 0, 0.5])
        if tick % 7 == 0:
            came_ns = due_ns + int(rng.uniform(0, 10 * MS))
            assert commander.on_chunk(chunk_of(due_ns, line), came_ns) is None
            verdicts = [commander.tick(came_ns, periodic=False)]
            assert verdicts[0].moment_ns == came_ns
        due_ns += 10 * MS
        commander.on_state(due_ns, verdicts[-1].command, due_ns)
        verdicts.append(commander.tick(due_ns))
        moments += [verdict.moment_ns for verdict in verdicts]
        positions += [verdict.command[0] for verdict in verdicts]
        verdicts = verdicts[-1:]
    late = np.array(moments) > 2500 * MS  # by then it is on its way
    times, places = np.unique(np.array(moments)[late], return_index=True)
    speeds = np.diff(np.array(positions)[late][places]) / np.diff(times) * 1e9
    np.testing.assert_allclose(speeds, 0.2, atol=1e-3)
