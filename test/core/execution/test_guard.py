"""Whatever comes in: finite commands, inside the limits, no faster than allowed; every fault ends at rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_robot import MS, STEP_NS, chunk_of, small_robot

from vla_ros.core.execution.commander import Commander
from vla_ros.core.execution.guard import Mode, Verdict
from vla_ros.core.robot import GuardSpec
from vla_ros.core.types import ActionChunk

HERE = [0.1, -0.2, 0.5]
PERIOD = 10 * MS
TOP = np.array([2.0, 2.0, 10.0]) * 0.01


class Cell:
    """A robot cell on a fake clock: joint states and a tick each 10 ms; the arm follows its commands."""

    def __init__(self, guard: GuardSpec | None = None) -> None:
        self.commander = Commander(small_robot(guard=guard))
        self.now_ns = 1000 * MS
        self.position = np.array(HERE)
        self.states_alive = True
        self.follows = True

    def tick(self) -> Verdict:
        self.now_ns += PERIOD
        if self.states_alive:
            self.commander.on_state(self.now_ns, self.position, self.now_ns)
            self.measured = self.position.copy()
        verdict = self.commander.tick(self.now_ns)
        if verdict.command is not None and self.follows:
            self.position = verdict.command
        return verdict

    def ticks(self, count: int) -> Verdict:
        return [self.tick() for _ in range(count)][-1]

    def chunk(self, to: list[float], delay_ms: int = 50) -> ActionChunk:
        """A plan from the arm's position to `to` in 1.2 s."""
        path = np.linspace(self.position, to, 13)[1:]
        return chunk_of(self.now_ns - delay_ms * MS, path)

    def armed(self) -> Cell:
        self.ticks(7)
        assert self.commander.arm(self.now_ns) is None
        return self

    def moving(self) -> Cell:
        self.armed()
        assert self.commander.on_chunk(self.chunk([0.6, 0.3, 0.5]), self.now_ns) is None
        self.ticks(20)
        assert self.position[0] > 0.12
        return self


def assert_held(cell: Cell, reason: str) -> None:
    """FAULT, said so, and after a controlled stop at rest where it was bound to come to rest."""
    verdict = cell.ticks(1)
    where = cell.commander.guard.hold
    assert verdict.mode is Mode.FAULT
    assert reason in verdict.reason
    cell.ticks(49)
    assert cell.commander.at_rest
    for _ in range(50):
        np.testing.assert_array_equal(cell.tick().command, where)
    assert cell.commander.guard.mode is Mode.FAULT


def test_disarmed_commands_nothing() -> None:
    cell = Cell()
    assert cell.commander.on_chunk(cell.chunk([0.2, 0, 0]), cell.now_ns) == "the commander is in disarmed"
    for _ in range(10):
        assert cell.tick() == Verdict(None, Mode.DISARMED, "never armed")


def test_arming_is_refused_without_fresh_joint_states() -> None:
    cell = Cell()
    assert cell.commander.arm(cell.now_ns) == "not armed: joint states are missing"
    cell.tick()
    watched = "not armed: joint states were watched for 0.00 s (1 of them); 0.05 s and 3 agreeing readings are needed"
    assert cell.commander.arm(cell.now_ns) == watched
    cell.ticks(6)
    cell.now_ns += 150 * MS
    assert cell.commander.arm(cell.now_ns) == "not armed: joint states are stale: 0.15 s old (limit 0.1 s)"
    assert cell.tick().mode is Mode.DISARMED


def test_arming_is_refused_far_outside_the_limits() -> None:
    cell = Cell()
    cell.position = np.array([1.5, 0.0, 0.0])
    cell.tick()
    refusal = "not armed: joint states: a reads 1.500, 0.500 outside its limits (tolerance 0.1)"
    assert cell.commander.arm(cell.now_ns) == refusal


def test_armed_it_holds_and_waits_for_a_plan_without_end() -> None:
    cell = Cell().armed()
    for _ in range(300):
        verdict = cell.tick()
        assert verdict.mode is Mode.ARMED
        np.testing.assert_array_equal(verdict.command, HERE)


def test_a_plan_is_followed() -> None:
    cell = Cell().armed()
    for _ in range(10):
        assert cell.commander.on_chunk(cell.chunk([0.6, 0.3, 0.9]), cell.now_ns) is None
        verdict = cell.ticks(20)
        assert verdict.mode is Mode.ARMED
    assert cell.position[0] > 0.5
    assert cell.position[2] > 0.8


def stale(guard: GuardSpec) -> tuple[Cell, Verdict]:
    """In motion until its plan is stale."""
    cell = Cell(guard).armed()
    chunk = cell.chunk([0.6, 0.3, 0.5])
    cell.commander.on_chunk(chunk, cell.now_ns)
    while not (verdict := cell.tick()).reason:
        assert cell.now_ns - chunk.stamp_ns <= 450 * MS
    assert cell.now_ns - chunk.stamp_ns <= 460 * MS
    assert "the plan is stale: 0.46 s old (limit 0.45 s)" in verdict.reason
    return cell, verdict


def test_a_stale_plan_is_a_fault_at_once_where_nothing_is_to_be_resumed() -> None:
    cell, verdict = stale(GuardSpec(resume_within_s=0.0))
    assert verdict.mode is Mode.FAULT
    assert_held(cell, "the plan is stale")


def test_a_stale_plan_brings_the_arm_to_rest_and_a_fresh_one_moves_it_on_smoothly() -> None:
    cell, verdict = stale(GuardSpec())
    assert verdict.mode is Mode.ARMED and verdict.reason.startswith("waiting for a fresh plan")
    stream = [cell.tick().command for _ in range(50)]
    assert cell.commander.at_rest
    far = chunk_of(cell.now_ns, np.tile(cell.position + np.array([0.0, 0.6, 0.0]), (12, 1)))
    assert "b is asked to jump by 0.600" in str(cell.commander.on_chunk(far, cell.now_ns))
    stream += [cell.tick().command for _ in range(100)]
    assert cell.commander.guard.waiting and cell.commander.at_rest
    assert cell.commander.on_chunk(cell.chunk([0.6, 0.3, 0.5]), cell.now_ns) is None
    stream += [cell.tick().command for _ in range(30)]
    assert cell.commander.guard.mode is Mode.ARMED and not cell.commander.guard.reason
    assert stream[-1][0] > stream[-31][0] + 0.03
    for number, limit in ((1, 2.0), (2, 10.0), (3, 100.0)):
        assert np.abs(np.diff(np.array(stream)[:, :2], number, axis=0)).max() / 0.01**number <= limit * 1.001


def test_a_fresh_plan_is_followed_even_before_the_arm_is_at_rest() -> None:
    cell, _ = stale(GuardSpec())
    cell.ticks(2)
    assert not cell.commander.at_rest
    assert cell.commander.on_chunk(cell.chunk([0.6, 0.3, 0.5]), cell.now_ns) is None
    before = cell.position[0]
    assert cell.ticks(30).mode is Mode.ARMED and cell.position[0] > before + 0.03


def test_waiting_for_a_fresh_plan_ends_in_a_fault() -> None:
    cell, _ = stale(GuardSpec(resume_within_s=1.0))
    waited_ns = cell.now_ns
    while (verdict := cell.tick()).mode is Mode.ARMED:
        assert cell.now_ns - waited_ns <= 1000 * MS
    assert verdict.reason == "the plan is stale: 1.47 s old (limit 0.45 s); none came in its place within 1 s"
    assert_held(cell, "the plan is stale")


@pytest.mark.parametrize("wrong", ["nan", "stop", "lies"])
def test_whatever_else_goes_wrong_while_it_waits_latches_at_once(wrong: str) -> None:
    cell, _ = stale(GuardSpec())
    if wrong == "nan":
        cell.commander.on_chunk(chunk_of(cell.now_ns, np.full((12, 3), np.nan)), cell.now_ns)
    elif wrong == "stop":
        cell.commander.stop()
    else:
        cell.commander.on_state(cell.now_ns + MS, [0.9, 0.9, 0.5], cell.now_ns + MS)
    assert cell.tick().mode is Mode.FAULT


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_plan_that_is_not_finite_is_a_fault(value: float) -> None:
    cell = Cell().moving()
    actions = np.tile(cell.position, (12, 1))
    actions[7, 1] = value
    assert cell.commander.on_chunk(chunk_of(cell.now_ns, actions), cell.now_ns) == "the plan is not finite: b"
    assert_held(cell, "the plan is not finite: b")


def test_a_plan_far_outside_the_limits_is_a_fault_and_slightly_outside_is_clamped() -> None:
    cell = Cell().moving()
    assert "a is 0.300 outside its limits" in str(cell.commander.on_chunk(cell.chunk([1.3, 0, 0.5]), cell.now_ns))
    assert_held(cell, "outside its limits (tolerance 0.1)")
    cell = Cell().armed()
    for _ in range(30):
        assert cell.commander.on_chunk(cell.chunk([1.05, 0.0, 1.05]), cell.now_ns) is None
        verdict = cell.ticks(20)
    assert verdict.command == pytest.approx([1.0, 0.0, 1.0], abs=0.01)
    assert (np.asarray(verdict.command) <= 1.0).all()


def test_a_plan_far_from_the_arm_is_a_fault_but_not_for_the_gripper() -> None:
    cell = Cell().moving()
    far = cell.measured + np.array([0.0, 0.6, 0.0])
    cell.commander.on_chunk(chunk_of(cell.now_ns, np.tile(far, (12, 1))), cell.now_ns)
    assert_held(cell, "b is asked to jump by 0.600 (limit 0.5)")
    cell = Cell().armed()
    assert cell.commander.on_chunk(chunk_of(cell.now_ns, np.tile([0.1, -0.2, 1.0], (12, 1))), cell.now_ns) is None
    assert cell.ticks(20).command == pytest.approx([0.1, -0.2, 1.0])


def test_an_arm_that_does_not_follow_is_a_fault() -> None:
    cell = Cell(GuardSpec(max_following_error=0.2)).armed()
    cell.follows = False
    path = np.linspace([0.15, -0.2, 0.5], [0.8, -0.2, 0.5], 12)
    assert cell.commander.on_chunk(chunk_of(cell.now_ns, path), cell.now_ns) is None
    sent = [cell.tick() for _ in range(90)]
    assert "a is 0.2" in sent[-1].reason and "(limit 0.2): the robot does not follow" in sent[-1].reason
    stream = np.array([verdict.command for verdict in sent])
    assert stream[:, 0].max() < HERE[0] + 0.2 + TOP[0] + 0.1  # and the way to end its speed
    assert sent[-1].command == pytest.approx(HERE) and cell.commander.at_rest
    for number, limit in ((1, 2.0), (2, 10.0), (3, 100.0)):
        assert np.abs(np.diff(stream[:, :2], number, axis=0)).max() / 0.01**number <= limit * 1.001


def test_joint_states_that_stop_are_a_fault_after_their_timeout() -> None:
    cell = Cell().moving()
    cell.states_alive = False
    assert cell.ticks(9).mode is Mode.ARMED
    assert cell.ticks(2).mode is Mode.FAULT
    assert_held(cell, "joint states are stale: 0.11 s")
    assert str(cell.commander.arm(cell.now_ns)).startswith("not armed: joint states are stale")
    cell.states_alive = True
    cell.ticks(7)
    assert cell.commander.arm(cell.now_ns) is None


def test_a_stop_acts_within_one_period_and_ends_at_rest_within_the_limits() -> None:
    cell = Cell().moving()
    stream = [cell.tick().command for _ in range(5)]
    speed = (stream[-1] - stream[-2])[0] / 0.01
    cell.commander.stop()
    stream += [cell.tick().command for _ in range(60)]
    assert cell.commander.guard.mode is Mode.FAULT
    steps = np.diff(np.array(stream)[:, 0])
    assert steps[5] < steps[4] and steps[-1] == 0.0  # slower at once
    assert stream[-1][0] - stream[4][0] <= stopping_distance(speed)
    for number, limit in ((1, 2.0), (2, 10.0), (3, 100.0)):
        assert np.abs(np.diff(np.array(stream)[:, :2], number, axis=0)).max() / 0.01**number <= limit * 1.001
    assert_held(cell, "stop requested")


def stopping_distance(speed: float, acceleration: float = 10.0, jerk: float = 100.0) -> float:
    """How far a joint goes at most that is to stop, accelerating as it may be [rad]."""
    fastest = abs(speed) + acceleration**2 / (2 * jerk)
    return fastest * (acceleration / jerk + (fastest / acceleration + acceleration / jerk) / 2)


def test_a_stop_heeds_no_measurement_after_it_nor_before() -> None:
    cell = Cell().moving()
    cell.follows, cell.position = False, cell.position - [0.04, 0.04, 0.0]
    cell.tick()
    cell.commander.stop()
    where = cell.commander.guard.hold
    for _ in range(60):
        cell.position = cell.position - 0.001  # the arm sags; the hold does not sag with it
        verdict = cell.tick()
    assert verdict.command == pytest.approx(where)


def step_after(gap_ms: int) -> float:
    """How far joint a gets in one tick, `gap_ms` after the last one, in the middle of a swift motion."""
    cell = Cell().armed()
    assert cell.commander.on_chunk(chunk_of(cell.now_ns, np.tile([0.5, -0.2, 0.5], (12, 1))), cell.now_ns) is None
    before = cell.ticks(12).command
    cell.now_ns += (gap_ms - 10) * MS
    after = cell.tick().command
    assert before is not None and after is not None
    return float(after[0] - before[0])


def test_speed_is_kept_whether_ticks_come_early_or_late() -> None:
    assert 0.003 < step_after(10) <= TOP[0]
    assert step_after(1) == pytest.approx(step_after(10) / 10, rel=0.2)
    assert step_after(100) == pytest.approx(step_after(10), rel=0.2)


def test_ticks_that_jitter_send_what_punctual_ones_send() -> None:
    streams = []
    for jitter_ms in (0, 2):
        cell, rng = Cell().armed(), np.random.default_rng(0)
        assert (
            cell.commander.on_chunk(chunk_of(cell.now_ns, np.linspace(HERE, [0.6, 0.3, 0.5], 12)), cell.now_ns) is None
        )
        stream, punctual_ns = [cell.tick().command], cell.now_ns
        for _ in range(60):
            cell.now_ns = punctual_ns + int(rng.integers(-jitter_ms, 2 * jitter_ms + 1)) * MS
            stream.append(cell.tick().command)
            punctual_ns += PERIOD
        streams.append(np.array(stream))
    np.testing.assert_allclose(*streams, atol=1e-12)


def test_a_gripper_may_keep_its_grip_through_a_stop() -> None:
    for hold, grip in (("measured", 0.5), ("commanded", 0.9)):
        cell = Cell(GuardSpec(gripper_hold=hold)).armed()  # type: ignore[arg-type]
        cell.commander.on_chunk(chunk_of(cell.now_ns, np.tile([0.1, -0.2, 0.9], (12, 1))), cell.now_ns)
        cell.ticks(20)
        cell.position = np.array([0.1, -0.2, 0.5])  # closed on a block
        cell.follows = False
        cell.ticks(2)
        cell.commander.stop()
        assert cell.ticks(20).command == pytest.approx([0.1, -0.2, grip])


def test_a_fault_is_latched_until_armed_and_motion_needs_a_plan_made_after() -> None:
    cell = Cell().moving()
    old = cell.commander.plan.chunk
    assert old is not None
    cell.commander.stop()
    cell.tick()
    assert cell.commander.on_chunk(cell.chunk([0.6, 0.3, 0.5], 0), cell.now_ns) == "the commander is in fault"
    assert cell.tick().mode is Mode.FAULT
    assert cell.commander.arm(cell.now_ns) is None
    assert "no newer" in str(cell.commander.on_chunk(old, cell.now_ns))
    held = cell.ticks(60).command
    assert cell.commander.at_rest and cell.ticks(100).command == pytest.approx(held)
    assert cell.commander.on_chunk(cell.chunk([0.6, 0.3, 0.5]), cell.now_ns) is None
    cell.ticks(20)
    assert cell.position[0] > held[0]
    assert cell.commander.guard.mode is Mode.ARMED


@pytest.mark.parametrize("interface", ["position", "velocity"])
def test_arming_while_it_still_comes_to_rest_is_no_step(interface: str) -> None:
    robot = small_robot()
    cell = Cell()
    cell.commander = Commander(replace(robot, command=replace(robot.command, interface=interface)))  # type: ignore[arg-type]
    cell.moving()
    cell.commander.stop()
    verdicts = [cell.tick() for _ in range(3)]
    assert not cell.commander.at_rest
    assert cell.commander.arm(cell.now_ns) is None
    verdicts += [cell.tick() for _ in range(60)]
    assert cell.commander.guard.mode is Mode.ARMED and cell.commander.at_rest
    speeds = np.array([verdict.velocity for verdict in verdicts])
    assert np.abs(np.diff(speeds[:, :2], axis=0)).max() <= 10.0 * 0.01 + 1e-9
    stream = np.array([verdict.command for verdict in verdicts])
    assert np.abs(np.diff(stream[:, :2], 3, axis=0)).max() / 0.01**3 <= 100.1


def test_an_arm_that_sags_in_a_hold_is_armed_without_a_step_and_comes_to_where_it_is() -> None:
    """Within what a reading may be off, it stays; further off, the command goes there."""
    for sag, ends in ((0.03, 0.0), (0.1, -0.1)):
        cell = Cell().moving()
        cell.commander.stop()
        held = cell.ticks(60).command
        cell.follows = False
        for _ in range(10):
            cell.position = cell.position - np.array([sag / 10, 0.0, 0.0])
            cell.tick()
        assert cell.commander.arm(cell.now_ns) is None
        stream = np.array([held, *(cell.tick().command for _ in range(80))])
        assert stream[-1][0] == pytest.approx(held[0] + ends, abs=1e-9)
        for number, limit in ((1, 2.0), (2, 10.0), (3, 100.0)):
            assert np.abs(np.diff(stream[:, :2], number, axis=0)).max() / 0.01**number <= limit * 1.001


def test_arming_after_the_arm_was_moved_by_hand_starts_where_it_is() -> None:
    cell = Cell().moving()
    cell.commander.stop()
    cell.tick()
    cell.follows = False
    for share in np.linspace(0, 1, 101)[1:]:
        cell.position = cell.measured + (np.array([-0.9, 0.9, 0.0]) - cell.measured) * share
        cell.tick()
    cell.ticks(5)
    assert cell.commander.arm(cell.now_ns) is None
    assert cell.tick().command == pytest.approx([-0.9, 0.9, 0.0])


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "g", "h"), ("a", "b", "x"), ("a", "b", "b")])
def test_a_chunk_for_other_joints_stops(names: tuple[str, ...]) -> None:
    cell = Cell().moving()
    chunk = ActionChunk(cell.now_ns, cell.now_ns, STEP_NS, np.zeros((12, len(names)), np.float32), names)
    assert "the robot's are a, b, g" in str(cell.commander.on_chunk(chunk, cell.now_ns))
    assert_held(cell, f"the plan is for the joints {', '.join(names)}")


def test_a_chunk_in_another_order_is_mapped_by_name() -> None:
    cells = Cell().armed(), Cell().armed()
    for cell, order in zip(cells, ([0, 1, 2], [2, 0, 1]), strict=True):
        chunk = cell.chunk([0.6, 0.3, 0.9])
        shuffled = replace(chunk, actions=chunk.actions[:, order], names=tuple("abg"[i] for i in order))
        assert cell.commander.on_chunk(shuffled, cell.now_ns) is None
        cell.ticks(30)
    np.testing.assert_array_equal(cells[0].position, cells[1].position)
    assert cells[0].position[0] > 0.2


def test_old_and_future_chunks_are_refused_without_a_fault() -> None:
    cell = Cell().moving()
    for stamp_ns, reason in ((cell.now_ns + 200 * MS, "in the future"), (cell.now_ns - 500 * MS, "0.50 s old")):
        chunk = chunk_of(stamp_ns, np.tile(cell.position, (12, 1)))
        assert reason in str(cell.commander.on_chunk(chunk, cell.now_ns))
    assert cell.tick().mode is Mode.ARMED


@pytest.mark.parametrize(
    ("stamp_ms", "positions", "reason"),
    [
        (0, HERE, "not newer"),
        (200, HERE, "0.20 s in the future"),
        (5, [0.0, np.nan, 0.0], "not finite: b"),
        (5, [0.0, 0.0], r"must have shape (3,), got (2,)"),
    ],
)
def test_wrong_joint_states_are_refused(stamp_ms: int, positions: list[float], reason: str) -> None:
    cell = Cell().armed()
    assert reason in str(cell.commander.on_state(cell.now_ns + stamp_ms * MS, positions, cell.now_ns))


def test_a_clock_that_jumps_back_stops_and_can_be_armed_again() -> None:
    cell = Cell().moving()
    cell.now_ns -= 5000 * MS
    assert_held(cell, "the clock jumped back")
    assert cell.commander.arm(cell.now_ns) is None
    assert cell.commander.on_chunk(cell.chunk([0.6, 0.3, 0.5]), cell.now_ns) is None
    assert cell.ticks(10).mode is Mode.ARMED


def test_a_clock_that_jumps_forward_stops() -> None:
    cell = Cell().moving()
    cell.states_alive = False
    cell.now_ns += 5000 * MS
    assert_held(cell, "joint states are stale")


def test_the_first_command_of_each_chunk_is_timed_once() -> None:
    cell = Cell().armed()
    cell.commander.on_chunk(cell.chunk([0.6, 0.3, 0.5], delay_ms=50), cell.now_ns)
    cell.tick()
    timing = cell.commander.timing
    assert timing is not None
    assert (timing.chunk_ms, timing.first_command_ms) == (50.0, 60.0)
    cell.tick()
    assert cell.commander.timing is None


def test_velocities_are_those_of_the_commands_through_a_stop_down_to_zero() -> None:
    cell = Cell().moving()
    before, after = cell.tick(), cell.tick()
    assert before.velocity is not None and after.velocity is not None and after.command is not None
    assert after.velocity[0] > 0.1
    mean = (before.velocity + after.velocity) / 2
    np.testing.assert_allclose((after.command - before.command) / 0.01, mean, atol=5e-3)
    cell.commander.stop()
    speeds = [after.velocity[0], *(cell.tick().velocity[0] for _ in range(50))]
    assert (np.diff(speeds) <= 1e-9).all() or np.diff(speeds).max() < 0.1  # one that speeds up has to end that first
    assert np.abs(np.diff(speeds)).max() <= 10.0 * 0.01 + 1e-9
    np.testing.assert_array_equal(cell.tick().velocity, np.zeros(3))
    cell.commander.disarm()
    assert cell.tick().velocity is None


@pytest.mark.parametrize("at", [20, 33, 47])
def test_velocities_that_lead_back_to_the_motion_end_within_limits_too(at: int) -> None:
    """What is sent is not the commanded motion's velocity alone; the stop begins from what was sent."""
    robot = small_robot(guard=GuardSpec(plan_timeout_s=5.0))
    cell = Cell()
    cell.commander = Commander(replace(robot, command=replace(robot.command, interface="velocity")))
    cell.follows = False
    cell.armed()
    assert cell.commander.on_chunk(cell.chunk([0.6, 0.3, 0.5]), cell.now_ns) is None
    speeds = [np.zeros(3)]
    for number in range(120):
        cell.position = cell.position + 0.6 * speeds[-1] * 0.01  # a drive that is slower than it is told
        if number == at:
            cell.commander.stop()
        verdict = cell.tick()
        assert verdict.velocity is not None
        speeds.append(verdict.velocity)
    changes = np.abs(np.diff(np.array(speeds)[:, :2], axis=0))
    assert changes.max() <= 10.0 * 0.01 + 1e-9
    np.testing.assert_array_equal(speeds[at + 52], np.zeros(3))
    assert cell.commander.at_rest


def test_a_late_tick_does_not_carry_an_arm_away_that_is_told_velocities() -> None:
    """The drive keeps the last velocity until the next: what a late one lets it do too much must be undone."""
    robot = small_robot(guard=GuardSpec(plan_timeout_s=5.0))
    cell = Cell()
    cell.commander = Commander(replace(robot, command=replace(robot.command, interface="velocity")))
    cell.follows = False
    cell.armed()
    assert cell.commander.on_chunk(cell.chunk([0.6, 0.3, 0.5]), cell.now_ns) is None
    velocity = np.zeros(3)
    for number in range(300):
        late_ns = 80 * MS if number == 40 else 0
        cell.now_ns += late_ns
        cell.position = cell.position + velocity * (PERIOD + late_ns) / 1e9
        verdict = cell.tick()
        assert verdict.mode is Mode.ARMED and verdict.velocity is not None
        assert (np.abs(verdict.velocity) <= cell.commander.guard.limits.max_velocity).all()
        velocity = verdict.velocity
    assert cell.position[:2] == pytest.approx([0.6, 0.3], abs=5e-3)


def test_at_the_end_of_a_plan_that_nothing_replaces_it_stands_still_there() -> None:
    cell = Cell(GuardSpec(plan_timeout_s=5.0)).armed()
    assert cell.commander.on_chunk(cell.chunk([0.3, 0.0, 0.5]), cell.now_ns) is None
    verdict = cell.ticks(250)
    assert verdict.mode is Mode.ARMED
    assert verdict.command == pytest.approx([0.3, 0.0, 0.5], abs=1e-6)
    assert verdict.velocity == pytest.approx(np.zeros(3), abs=1e-9)


events = st.one_of(
    st.tuples(st.just("tick"), st.integers(1, 30)),
    st.tuples(st.just("chunk"), st.lists(st.floats(-3, 3) | st.sampled_from([np.nan, np.inf]), min_size=6, max_size=6)),
    st.tuples(st.just("near"), st.floats(-0.4, 0.4)),
    st.tuples(st.just("late"), st.sampled_from([-9, -3, -2, 1, 4, 6, 37])),
    st.tuples(st.sampled_from(["arm", "stop", "disarm", "states", "blocked", "back"]), st.none()),
)


@settings(max_examples=200)
@given(st.lists(events, max_size=40))
def test_no_event_whatever_gets_a_wrong_command_out(happenings: list[tuple[str, object]]) -> None:
    cell = Cell().armed()
    last: np.ndarray | None = None
    for what, value in happenings:
        mode_before = cell.commander.guard.mode
        if what == "chunk":
            cell.commander.on_chunk(chunk_of(cell.now_ns - 50 * MS, np.reshape(value, (2, 3))), cell.now_ns)
        elif what == "near":
            cell.commander.on_chunk(cell.chunk((cell.position + value).tolist()), cell.now_ns)
        elif what == "arm":
            cell.commander.arm(cell.now_ns)
            last = None
        elif what in ("stop", "disarm"):
            getattr(cell.commander, what)()
        elif what == "states":
            cell.states_alive = not cell.states_alive
        elif what == "blocked":
            cell.follows = not cell.follows
        elif what in ("late", "back"):
            cell.now_ns += int(value) * MS if what == "late" else -2000 * MS
        assert cell.commander.guard.mode is mode_before or what in ("arm", "stop", "disarm", "chunk", "near")
        for _ in range(int(str(value)) if what == "tick" else 1):
            verdict = cell.tick()
            if verdict.mode is Mode.DISARMED:
                assert verdict.command is None
                last = None
                continue
            command = verdict.command
            assert command is not None and verdict.moment_ns is not None
            assert abs(verdict.moment_ns - cell.now_ns) <= PERIOD // 2
            assert np.isfinite(command).all()
            assert (command >= [-1.0, -1.0, 0.0]).all()
            assert (command <= 1.0).all()
            if last is not None:
                assert (np.abs(command - last) <= TOP + 1e-12).all()
            last = command
