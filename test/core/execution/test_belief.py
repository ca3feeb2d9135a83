"""No joint state moves a robot, whatever it says: the table's UR5e, its joint states at 100 Hz and lies among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_robot import MS

from vla_ros.core.execution.commander import Commander
from vla_ros.core.execution.guard import Mode
from vla_ros.core.kinematics.chain import Workspace
from vla_ros.core.robot import RobotSpec, load_robot
from vla_ros.core.types import ActionChunk

HOME = np.array([-0.2, -1.5, 1.9, -1.97, -1.57, -1.77, 0.0])
ZERO = np.zeros(7)
PERIOD = 10 * MS
ROBOT = load_robot("ur5e_tabletop")
ARM = ~ROBOT.is_gripper
LIMITS = [ROBOT.limits(quantity)[ARM] for quantity in ("max_velocity", "max_acceleration", "max_jerk")]


class Cell:
    """A robot on a fake clock whose true joint states come at 100 Hz, and whatever else is said between them."""

    def __init__(self, robot: RobotSpec = ROBOT) -> None:
        self.robot, self.commander, self.now_ns = robot, Commander(robot), 1000 * MS
        self.position = HOME.copy()
        self.lies: list[NDArray[np.float64]] = []  # told after the true ones, one a tick
        self.true = True
        self.follows = True
        self.stream: list[NDArray[np.float64]] = []

    def tick(self, ticks: int = 1) -> None:
        for _ in range(ticks):
            self.now_ns += PERIOD
            if self.true:
                self.tell(self.position)
            if self.lies:
                self.tell(self.lies.pop(0), MS)
            command = self.commander.tick(self.now_ns + 2 * MS).command
            if command is not None:
                self.stream.append(command)
                self.position = command if self.follows else self.position

    def tell(self, position: NDArray[np.float64], later_ns: int = 0) -> str | None:
        return self.commander.on_state(self.now_ns + later_ns, position, self.now_ns + later_ns)

    def arm(self) -> str | None:
        return self.commander.arm(self.now_ns + 2 * MS)

    def armed(self) -> Cell:
        self.tick(10)
        assert self.arm() is None
        self.tick(5)
        return self

    def plan(self, speed: float = 0.5, joint: int = 0) -> None:
        """A straight line of one joint from where the arm is."""
        step_ns = 100 * MS
        actions = np.tile(self.position, (12, 1))
        actions[:, joint] += speed * 0.1 * np.arange(1, 13)
        chunk = ActionChunk(
            self.now_ns, self.now_ns + step_ns, step_ns, actions.astype(np.float32), self.robot.joint_names
        )
        assert self.commander.on_chunk(chunk, self.now_ns) is None

    def moving(self, speed: float = 0.5, joint: int = 0) -> Cell:
        self.armed()
        for _ in range(3):
            self.plan(speed, joint)
            self.tick(20)
        return self

    @property
    def reason(self) -> str:
        assert self.commander.guard.mode is Mode.FAULT
        return self.commander.guard.reason


def travel(stream: list[NDArray[np.float64]]) -> float:
    return float(np.ptp(np.array(stream)[:, ARM], axis=0).max())


def assert_within_limits(stream: list[NDArray[np.float64]], robot: RobotSpec = ROBOT) -> None:
    """Position, velocity, acceleration and jerk of the stream at its rate, and the tool in its workspace."""
    arm = np.array(stream)
    assert (robot.limits("lower") <= arm + 1e-9).all() and (arm <= robot.limits("upper") + 1e-9).all()
    if robot.workspace is not None:
        assert Workspace(robot.workspace, robot.joint_names).outside(arm) is None
    for number, limit in enumerate(LIMITS, 1):
        highest = np.abs(np.diff(arm[:, ARM], number, axis=0)).max(axis=0, initial=0.0) / 0.01**number
        assert (highest <= limit * 1.001 + 1e-6).all(), f"{number}: {highest} of {limit}"


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (ZERO, "wrist_1_joint reads 0.000, but was -1.970 1 ms ago: it cannot have got there"),
        (HOME + np.eye(7)[2] * 100, "elbow_joint reads 101.900, 98.758 outside its limits (tolerance 0.1)"),
        (np.degrees(HOME), "wrist_1_joint reads -112.873, 106.589 outside its limits"),
        (HOME[[1, 0, 2, 3, 4, 5, 6]], "shoulder_pan_joint reads -1.500, but was -0.200"),
        (np.where(np.arange(7) == 1, np.nan, HOME), "joint states are not finite: shoulder_lift_joint"),
    ],
    ids=["zeros", "100 rad", "degrees", "swapped", "nan"],
)
def test_one_wrong_joint_state_among_true_ones_moves_nothing(lie: NDArray[np.float64], said: str) -> None:
    cell = Cell().armed()
    cell.lies = [lie]
    cell.tick(300)
    assert said in cell.reason
    assert travel(cell.stream) == 0.0


@pytest.mark.parametrize("lie", [ZERO, np.degrees(HOME), HOME[[1, 0, 2, 3, 4, 5, 6]]], ids=["0", "deg", "swapped"])
@pytest.mark.parametrize("lies", [1, 3, 100])
@pytest.mark.parametrize("true", [True, False])
def test_wrong_joint_states_in_motion_end_it_within_its_stopping_distance(
    lie: NDArray[np.float64], lies: int, true: bool
) -> None:
    cell = Cell().moving()
    before = len(cell.stream)
    cell.lies, cell.true = [lie] * lies, true
    cell.tick(100)
    assert cell.commander.guard.mode is Mode.FAULT
    assert cell.commander.at_rest
    assert_within_limits(cell.stream)
    assert travel(cell.stream[before - 1 :]) < 0.05  # at 0.5 rad/s: 0.5^2 / 16, and what jerk adds
    cell.true = True
    cell.lies = []
    cell.tick(300)
    assert travel(cell.stream[before + 60 :]) == 0.0


def test_arming_while_the_newest_joint_state_is_wrong_is_refused_by_name() -> None:
    cell = Cell()
    cell.tick(10)
    cell.lies = [ZERO]
    cell.tick()
    assert cell.arm() == (
        "not armed: joint states disagree: wrist_1_joint reads 0.000, but was -1.970 1 ms ago: it cannot have got there"
    )
    cell.tick(60)
    assert cell.arm() is None
    cell.tick(10)
    np.testing.assert_array_equal(cell.stream, np.tile(HOME, (10, 1)))


@pytest.mark.parametrize("order", [(HOME, ZERO), (ZERO, HOME)])
@pytest.mark.parametrize("burst", [1, 2, 4])
def test_two_sources_that_take_turns_are_never_armed_nor_believed_as_a_move(
    order: tuple[NDArray[np.float64], NDArray[np.float64]], burst: int
) -> None:
    cell = Cell()
    cell.true = False
    said = set()
    for _ in range(100):
        for position, times in zip(order, (1, burst), strict=True):
            for _ in range(times):
                cell.now_ns += PERIOD // 2
                cell.tell(position)
                said.add(str(cell.arm()))
    assert cell.commander.guard.mode is Mode.DISARMED
    assert all(text.startswith(("not armed: joint states disagree", "not armed: joint states were w")) for text in said)


def test_a_reading_that_stays_elsewhere_has_jumped_and_the_robot_stays_where_it_is() -> None:
    """A driver that reports zeros for good. Only a person can tell whether the arm is there."""
    cell = Cell().armed()
    cell.true, cell.lies = False, [ZERO] * 200
    cell.tick(200)
    assert cell.reason.endswith("now the robot's reading jumped: wrist_1_joint from -1.970 to 0.000")
    assert travel(cell.stream) == 0.0
    assert "its reading jumped. Look at the robot, then deactivate" in str(cell.arm())
    cell.commander.disarm()
    cell.lies = [ZERO] * 10
    cell.tick(10)
    assert cell.arm() is None
    cell.lies = [ZERO]
    cell.tick()
    np.testing.assert_array_equal(cell.stream[-1], ZERO)


def test_a_reading_that_comes_back_can_be_armed_again_where_it_was() -> None:
    """Zeros while the driver connects again, and then the truth."""
    cell = Cell().armed()
    cell.true, cell.lies = False, [ZERO] * 30
    cell.tick(30)
    cell.true = True
    cell.tick(60)
    assert cell.arm() is None
    cell.tick(20)
    assert travel(cell.stream) == 0.0


def test_a_lie_of_a_moment_does_not_forbid_to_carry_the_arm_elsewhere() -> None:
    cell = Cell().armed()
    cell.lies = [ZERO]
    cell.tick(2)
    cell.true, cell.lies, cell.follows = False, [ZERO] * 30, False
    cell.tick(30)
    cell.true = True
    for _ in range(80):
        cell.position = cell.position + 0.01
        cell.tick()
    cell.tick(60)
    assert cell.arm() is None
    cell.tick()
    np.testing.assert_array_equal(cell.stream[-1], cell.position)


def test_after_silence_the_robot_may_be_anywhere_but_has_to_show_it() -> None:
    cell = Cell()
    cell.tick(10)
    cell.now_ns += 5000 * MS
    cell.position = HOME + 0.8
    cell.tick(3)
    assert "cannot have got there" in str(cell.arm())
    cell.tick(60)
    assert cell.arm() is None
    cell.tick()
    np.testing.assert_array_equal(cell.stream[-1], HOME + 0.8)


def test_frozen_values_are_an_arm_that_does_not_follow_and_take_it_back_within_limits() -> None:
    cell = Cell().moving()
    at = cell.position.copy()
    cell.follows = False
    for _ in range(6):
        if cell.commander.guard.mode is Mode.ARMED:
            cell.position = cell.stream[-1]
            cell.plan()
            cell.position = at
        cell.tick(20)
    cell.tick(100)
    assert "the robot does not follow" in cell.reason
    assert_within_limits(cell.stream)
    np.testing.assert_allclose(cell.stream[-1], at, atol=1e-9)


@pytest.mark.parametrize("name", ["ur5e_tabletop", "ur5e", "fr3"])
def test_every_shipped_robot_is_at_rest_half_a_second_after_a_fault(name: str) -> None:
    """From top speed, and while it speeds up as it may."""
    robot = load_robot(name)
    for joint in robot.joints:
        if joint.kind != "gripper":
            ending_s = joint.max_acceleration / joint.max_jerk
            fastest = joint.max_velocity + joint.max_acceleration**2 / (2 * joint.max_jerk)
            assert 2 * ending_s + fastest / joint.max_acceleration < 0.5


def test_a_revolute_joint_that_wraps_is_asked_whether_it_is_continuous() -> None:
    cell = Cell().armed()
    cell.lies = [HOME - np.eye(7)[5] * -2 * np.pi]
    cell.tick(20)
    assert cell.reason.endswith(": jumped by 6.283, a full turn; is it kind: continuous?")
    assert travel(cell.stream) == 0.0


def endless(robot: RobotSpec = ROBOT) -> RobotSpec:
    """The last wrist joint turns without end."""
    wrist = replace(robot.joints[5], kind="continuous", lower=-np.inf, upper=np.inf)
    return replace(robot, joints=(*robot.joints[:5], wrist, robot.joints[6]))


@pytest.mark.parametrize("way", [-1.0, 1.0])
def test_a_continuous_joint_goes_across_the_seam_the_short_way(way: float) -> None:
    """Readings and plans wrapped into [-pi, pi], as drivers and policies have them."""
    cell = Cell(endless())
    cell.position = np.where(np.arange(7) == 5, way * 3.0, HOME)
    told = cell.tell
    cell.tell = lambda position, later_ns=0: told(wrapped(position), later_ns)  # type: ignore[method-assign]
    cell.armed()
    for _ in range(30):
        base, cell.position = cell.position, wrapped(cell.position)
        cell.plan(way * 0.5, joint=5)
        cell.position = base
        cell.tick(20)
    assert cell.commander.guard.mode is Mode.ARMED
    wrist = np.array(cell.stream)[:, 5]
    assert (np.diff(wrist) * way >= -1e-9).all()
    assert way * (wrist[-1] - wrist[0]) == pytest.approx(0.5 * 6, rel=0.1)
    highest = np.abs(np.diff(wrist, 2)).max() / 0.01**2
    assert highest <= ROBOT.joints[5].max_acceleration * 1.001


def test_a_continuous_joint_is_no_excuse_for_any_number() -> None:
    cell = Cell(endless())
    assert cell.tell(np.where(np.arange(7) == 5, 1e300, HOME)) == (
        "joint states: wrist_3_joint reads 1e+300: no joint gets there"
    )


def wrapped(position: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.arange(7) == 5, np.arctan2(np.sin(position), np.cos(position)), position)


happenings = st.lists(
    st.one_of(
        st.tuples(st.just("true"), st.integers(1, 40)),
        st.tuples(st.just("jump"), st.tuples(st.sampled_from([0, 1, 2, 5]), st.floats(-9, 9))),
        st.tuples(st.just("zeros"), st.integers(1, 15)),
        st.tuples(st.just("in turns"), st.integers(1, 15)),
        st.tuples(st.just("wrapped"), st.sampled_from([-1, 1])),
        st.tuples(st.just("noise"), st.floats(0, 0.04)),
        st.tuples(st.just("frozen"), st.integers(1, 60)),
        st.tuples(st.just("silent"), st.integers(1, 30)),
        st.tuples(st.just("plan"), st.tuples(st.floats(-2.5, 2.5), st.integers(0, 5))),
        st.tuples(st.sampled_from(["arm", "stop", "let go"]), st.none()),
    ),
    max_size=30,
)


@settings(max_examples=150)
@given(happenings, st.integers(0, 5))
def test_no_readings_whatever_get_a_command_out_of_its_limits(what: list[tuple[str, object]], seed: int) -> None:
    """Jumps, wraps, freezes, noise, alternation, silence, between plans that move: the stream keeps every limit, and
    ends every fault within its stopping distance. A new stream begins where arming found the robot elsewhere."""
    cell, rng = Cell(), np.random.default_rng(seed)
    cell.armed()
    rows: list[tuple[int, int]] = []
    begun = 0
    for kind, value in [("plan", (0.8, 0)), ("true", 10), *what, ("true", 60)]:
        before, faulty = len(cell.stream), cell.commander.guard.mode is Mode.FAULT
        if kind == "plan" and not faulty:
            try_plan(cell, *value)  # type: ignore[misc]
            cell.tick(10)
        elif kind == "jump":
            cell.lies = [cell.position + np.eye(7)[value[0]] * value[1]]  # type: ignore[index]
            cell.tick()
        elif kind in ("zeros", "in turns"):
            cell.true, cell.lies = kind == "in turns", [ZERO] * int(str(value))
            cell.tick(int(str(value)))
            cell.true = True
        elif kind == "wrapped":
            cell.lies = [cell.position + np.eye(7)[5] * 2 * np.pi * int(str(value))]
            cell.tick()
        elif kind == "noise":
            cell.true = False
            cell.lies = [cell.position + rng.uniform(-1, 1, 7) * float(str(value)) * ARM for _ in range(5)]
            cell.tick(5)
            cell.true = True
        elif kind == "frozen":
            cell.follows = False
            cell.tick(int(str(value)))
        elif kind == "silent":
            cell.true = False
            cell.tick(int(str(value)))
            cell.true = True
        elif kind == "let go":
            cell.follows = True
        elif kind == "stop":
            cell.commander.stop()
        elif kind == "arm" and faulty and cell.arm() is None:
            cell.tick()
            if np.abs(cell.stream[-1] - cell.stream[-2]).max() > 0.02:  # it is, and was, elsewhere
                rows.append((begun, before))
                begun = before
        elif kind == "true":
            cell.tick(int(str(value)))
        if not faulty and cell.commander.guard.mode is Mode.FAULT:
            cell.tick(60)
            assert cell.commander.at_rest or "does not follow" in cell.commander.guard.reason
    for first, last in [*rows, (begun, len(cell.stream))]:
        if last - first > 3:
            assert_within_limits(cell.stream[first:last])


def try_plan(cell: Cell, speed: float, joint: int) -> None:
    step_ns = 100 * MS
    actions = np.tile(cell.position, (12, 1))
    actions[:, joint] += speed * 0.1 * np.arange(1, 13)
    chunk = ActionChunk(cell.now_ns, cell.now_ns + step_ns, step_ns, actions.astype(np.float32), ROBOT.joint_names)
    cell.commander.on_chunk(chunk, cell.now_ns)


@settings(max_examples=100)
@given(st.floats(-3.0, 3.0), st.integers(0, 5), st.integers(1, 30), st.sampled_from(["stop", "lie", "silence", "nan"]))
def test_after_a_fault_no_joint_goes_further_than_it_takes_to_stop(
    speed: float, joint: int, ticks: int, how: str
) -> None:
    cell = Cell().armed()
    try_plan(cell, speed, joint)
    cell.tick(ticks)
    if cell.commander.guard.mode is not Mode.ARMED:
        return
    motion = cell.commander.guard.stopping_distance()
    begin = len(cell.stream)
    if how == "stop":
        cell.commander.stop()
    elif how == "lie":
        cell.tell(ZERO, MS)
    elif how == "nan":
        cell.tell(np.full(7, np.nan), MS)
    else:
        cell.true = False
        while cell.commander.guard.mode is Mode.ARMED and not cell.commander.guard.reason:
            motion = cell.commander.guard.stopping_distance()
            begin = len(cell.stream)
            cell.tick()
    cell.tick(60)
    assert cell.commander.at_rest
    assert_within_limits(cell.stream)
    way = np.abs(np.array(cell.stream[begin - 1 :]) - cell.stream[begin - 1]).max(axis=0)
    assert (way[ARM] <= motion[ARM] + 1e-9).all()


@pytest.mark.parametrize("gap", [0, 7])
@pytest.mark.parametrize("ahead_ms", [0, 90])
@pytest.mark.parametrize("off", [0.26, 0.3, 0.36])
def test_one_reading_that_could_just_be_true_moves_nothing(gap: int, ahead_ms: int, off: float) -> None:
    """After a gap, or stamped ahead, a reading may be believed that lags by more than an arm which follows."""
    cell = Cell().armed()
    cell.tick(20)
    cell.true = False
    cell.tick(gap)
    cell.now_ns += PERIOD
    lie = cell.position.copy()
    lie[0] += off
    cell.commander.on_state(cell.now_ns + ahead_ms * MS, lie, cell.now_ns)
    cell.true, before = True, cell.position.copy()
    cell.tick(200)
    assert np.abs(cell.position - before)[ARM].max() < 1e-3


def test_a_blocked_arm_is_taken_back_once_several_readings_say_so() -> None:
    cell = Cell().armed()
    cell.follows = False
    chunk_at = cell.now_ns + 2 * MS
    actions = np.repeat(cell.position[None], 12, axis=0).astype(np.float32)
    actions[:, 0] += 0.1 * np.arange(1, 13)
    step_ns = 100 * MS
    chunk = ActionChunk(chunk_at, chunk_at + step_ns, step_ns, actions, ROBOT.joint_names)
    assert cell.commander.on_chunk(chunk, chunk_at) is None
    cell.tick(150)
    assert cell.commander.guard.mode is Mode.FAULT
    assert np.abs(cell.stream[-1] - cell.position)[ARM].max() < 1e-3


@pytest.mark.parametrize("after_ms", [1, 4, 9])
def test_arming_while_it_still_brakes_makes_no_step(after_ms: int) -> None:
    """The time since the last command is the time since the last command, whoever arms meanwhile."""
    cell = Cell().armed()
    start = cell.now_ns + 2 * MS
    actions = np.repeat(cell.position[None], 60, axis=0).astype(np.float32)
    actions[:, 0] += np.minimum(0.03 * np.arange(1, 61), 1.6)
    assert (
        cell.commander.on_chunk(ActionChunk(start, start + 20 * MS, 20 * MS, actions, ROBOT.joint_names), start) is None
    )
    cell.tick(22)
    cell.commander.stop()
    cell.tick()
    before, now_ns = cell.stream[-1], cell.now_ns + 2 * MS + after_ms * MS
    cell.commander.on_state(now_ns, cell.position, now_ns)
    cell.commander.arm(now_ns)
    command = cell.commander.tick(now_ns, periodic=False).command
    assert command is not None
    assert (np.abs(command - before)[ARM] <= LIMITS[0] * after_ms / 1e3 + 1e-9).all()
