"""The commander as a real process over DDS: due actions only, held stops, clean ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from live_nodes import patient_robot
from waiting import until

from vla_ros.core.robot import load_robot
from vla_ros.core.types import ActionChunk

pytestmark = pytest.mark.live

ROBOT = load_robot("ur5e_tabletop")
HOME = np.array([-0.2, -1.5, 1.9, -1.97, -1.57, -1.77, 0.0])
SPEED = np.array([0.3, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0])  # rad/s
STEP_NS = 100_000_000


class Driver:
    """The robot below the commander: it goes where it is told at once, and writes down every command."""

    def __init__(self, world) -> None:
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Float64MultiArray
        from trajectory_msgs.msg import JointTrajectory

        from vla_ros.ros.qos import COMMAND, SENSOR

        node = self.node = world.node
        self.position = HOME.copy()
        self.talks = True
        self.commands: list[tuple[int, np.ndarray]] = []
        self.chunks = node.create_publisher(JointTrajectory, "action_chunk", COMMAND)
        self.states = node.create_publisher(JointState, "/joint_states", SENSOR)
        node.create_subscription(Float64MultiArray, "/joint_commands", lambda m, info: self._on_command(m, info), 50)
        node.create_timer(0.01, self._publish_state)

    def now_ns(self) -> int:
        return self.node.get_clock().now().nanoseconds

    def _on_command(self, message, info) -> None:
        self.position = np.array(message.data)
        self.commands.append((info["source_timestamp"], self.position))  # when it was sent

    def _publish_state(self) -> None:
        from vla_ros.ros.convert import array_to_joint_state

        if self.talks:
            self.states.publish(array_to_joint_state(ROBOT.joint_names, self.position, self.now_ns()))

    def send(self, actions: np.ndarray, stamp_ns: int) -> None:
        from vla_ros.ros.convert import chunk_to_trajectory

        chunk = ActionChunk(stamp_ns, stamp_ns + STEP_NS, STEP_NS, actions.astype(np.float32), ROBOT.joint_names)
        self.chunks.publish(chunk_to_trajectory(chunk))

    def arm(self, world) -> None:
        until(lambda: world.trigger("commander/arm")[0], what="arming")


class Ramp:
    """A policy that wants one straight motion, x(t) = HOME + SPEED * t, and answers late, unevenly and out of order."""

    def __init__(self, driver: Driver, delays_s: list[float], every_s: float = 0.1) -> None:
        self.driver, self.delays_s, self.every_s = driver, delays_s, every_s
        self.start_ns = driver.now_ns()
        self.stopped = threading.Event()
        self._late: list[threading.Timer] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def at(self, t_ns: float) -> np.ndarray:
        return HOME + SPEED * (t_ns - self.start_ns) / 1e9

    def _run(self) -> None:
        for delay_s in self.delays_s:
            if self.stopped.is_set():
                return
            stamp_ns = self.driver.now_ns()
            actions = np.stack([self.at(stamp_ns + (i + 1) * STEP_NS) for i in range(12)])
            late = threading.Timer(delay_s, self.driver.send, (actions, stamp_ns))
            late.start()
            self._late.append(late)
            time.sleep(self.every_s)

    def stop(self) -> None:
        self.stopped.set()
        for late in self._late:
            late.cancel()


@pytest.fixture
def driver(world, processes, tmp_path):
    processes.start("commander", robot=patient_robot(tmp_path))
    found = Driver(world)
    until(lambda: "commander" in world.diagnostics and found.chunks.get_subscription_count(), what="the commander")
    return found


def test_disarmed_it_commands_nothing(driver, world):
    ramp = Ramp(driver, [0.0] * 8)
    time.sleep(1.0)
    ramp.stop()
    assert driver.commands == []
    assert world.says("commander", "never armed")


@pytest.mark.parametrize(
    ("joints", "stamped", "refusal"),
    [
        (slice(1, None), True, "joint states lack shoulder_pan_joint"),
        (slice(None), False, "joint states have no stamp"),
    ],
)
def test_joint_states_that_are_all_refused_are_not_called_missing(world, processes, tmp_path, joints, stamped, refusal):
    """An operator who reads "missing" looks for a cable, while the driver sends a hundred a second without a joint."""
    from sensor_msgs.msg import JointState

    from vla_ros.ros.convert import array_to_joint_state
    from vla_ros.ros.qos import SENSOR

    states = world.node.create_publisher(JointState, "/joint_states", SENSOR)
    processes.start("commander", robot=patient_robot(tmp_path))
    until(lambda: "commander" in world.diagnostics and states.get_subscription_count(), what="the commander")

    def told() -> bool:
        stamp_ns = world.node.get_clock().now().nanoseconds if stamped else 0
        states.publish(array_to_joint_state(ROBOT.joint_names[joints], HOME[joints], stamp_ns))
        return world.says("commander", f"joint states refused in a row, the last: {refusal}")

    until(told, 20, "the refusal in the status line")
    armed, why = world.trigger("commander/arm")
    assert not armed and "joint states are missing; " in why and refusal in why


def test_no_action_is_executed_late_twice_or_out_of_order(driver, world):
    """Chunks of one straight motion under random delays, up to arriving after their successors: whatever is due at a
    moment is what must be sent at that moment, so the recorded commands follow the motion in time."""
    rng = np.random.default_rng(0)
    driver.arm(world)
    ramp = Ramp(driver, rng.uniform(0.0, 0.25, 40).tolist())
    time.sleep(3.5)
    ramp.stop()
    commands = list(driver.commands)
    moving = [(t, q) for t, q in commands if t > ramp.start_ns + 1e9]
    assert len(moving) > 150  # 100 Hz for some 2.5 s
    path = np.array([q[0] for _, q in moving])
    assert (np.diff(path) > -1e-5).all(), "the motion went back: an action was executed twice or out of order"
    behind_s = np.array([(ramp.at(t)[0] - q[0]) / SPEED[0] for t, q in moving])
    assert np.median(np.abs(behind_s)) < 0.03, "actions are not executed when they are due"
    assert np.percentile(np.abs(behind_s), 95) < 0.1


def test_without_plans_it_comes_to_rest_and_goes_on_after_arming(driver, world):
    driver.arm(world)
    ramp = Ramp(driver, [0.0] * 100)
    until(world.goes_on(lambda: driver.position[0] > HOME[0] + 0.1), what="motion")
    ramp.stop()
    last_chunk_s = time.monotonic()
    until(lambda: world.says("commander", "armed: waiting for a fresh plan: the plan is stale"), 5.0, "the wait")
    assert time.monotonic() - last_chunk_s < 1.5  # 0.5 s, and the way of the diagnostics
    time.sleep(0.5)
    held = driver.position.copy()
    until(lambda: world.says("commander", "fault: the plan is stale"), 5.0, "the fault")
    assert time.monotonic() - last_chunk_s < 3.5  # 2 s more
    assert np.allclose(driver.position, held, atol=1e-6) and np.abs(held[:6]).sum() > 1
    again = Ramp(driver, [0.0] * 100)
    again.start_ns -= int((held[0] - HOME[0]) / SPEED[0] * 1e9)  # go on from where it stands
    time.sleep(0.5)
    assert np.allclose(driver.position, held, atol=1e-6), "a latched fault moved"
    again.start_ns = driver.now_ns() - int((held[0] - HOME[0]) / SPEED[0] * 1e9)  # it must not run away meanwhile
    driver.arm(world)
    until(world.goes_on(lambda: driver.position[0] > held[0] + 0.05), what="motion after arming")
    again.stop()


def test_stop_and_stale_joint_states_hold(driver, world):
    driver.arm(world)
    ramp = Ramp(driver, [0.0] * 100)
    until(world.goes_on(lambda: driver.position[0] > HOME[0] + 0.05), what="motion")
    assert world.trigger("commander/stop")[0]
    stopped = len(driver.commands)
    until(lambda: len(driver.commands) > stopped + 20, what="holding commands")
    held = driver.commands[-1][1]
    time.sleep(0.2)
    assert np.allclose(driver.position, held, atol=1e-6)
    driver.talks = False
    until(lambda: "joint states are stale" in world.trigger("commander/arm")[1], 10, "the refusal")
    ramp.stop()


def test_a_second_publisher_of_commands_refuses_to_arm(driver, world):
    from std_msgs.msg import Float64MultiArray

    rival = world.node.create_publisher(Float64MultiArray, "/joint_commands", 1)
    until(lambda: "2 publishers on /joint_commands" in world.trigger("commander/arm")[1], what="the refusal")
    world.node.destroy_publisher(rival)
    driver.arm(world)


def test_a_chunk_that_is_not_finite_stops_the_robot(driver, world):
    driver.arm(world)
    ramp = Ramp(driver, [0.0] * 100)
    until(world.goes_on(lambda: driver.position[0] > HOME[0] + 0.05), what="motion")

    def poisoned() -> bool:
        actions = np.repeat(driver.position[None], 12, axis=0)
        actions[3, 2] = np.nan
        driver.send(actions, driver.now_ns())
        time.sleep(0.05)
        return world.says("commander", "not finite")

    until(poisoned, 10.0, "the fault")
    ramp.stop()
    time.sleep(0.2)
    assert all(np.isfinite(q).all() for _, q in driver.commands)


def test_sigterm_holds_and_ends_with_zero(world, processes, tmp_path):
    process = processes.start("commander", robot=patient_robot(tmp_path))
    driver = Driver(world)
    until(lambda: driver.chunks.get_subscription_count(), what="the commander")
    driver.arm(world)
    ramp = Ramp(driver, [0.0] * 100)
    until(world.goes_on(lambda: driver.position[0] > HOME[0] + 0.05), what="motion")
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    assert process.wait(5) == 0
    assert time.monotonic() - started < 2.0
    ramp.stop()
    steps = np.abs(np.diff(np.array([q for _, q in driver.commands]), axis=0)).max()
    assert steps < 0.05, "the last command jumped"


def test_a_lifecycle_manager_can_take_it_down_and_up_again(driver, world):
    """Deactivate, clean up, configure, activate: disarmed again, and able to arm and move."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    client = world.node.create_client(ChangeState, "commander/change_state")
    driver.arm(world)
    for transition in (
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
    ):
        future = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        until(future.done, what="the transition")
        assert future.result().success
    count = len(driver.commands)
    time.sleep(0.3)
    assert len(driver.commands) == count, "it commands although nobody armed it"
    driver.arm(world)
    ramp = Ramp(driver, [0.0] * 50)
    until(world.goes_on(lambda: driver.position[0] > HOME[0] + 0.05), what="motion")
    ramp.stop()


@pytest.mark.parametrize(
    ("robot", "complaint"), [("nobody", "nothing is called 'nobody'"), ("/nowhere/robot.yaml", "no such file")]
)
def test_a_wrong_robot_is_one_line_and_an_exit_code(processes, robot, complaint):
    process = processes.start("commander", robot=robot)
    assert process.wait(20) == 2
    assert complaint in processes.output("commander")
    assert "Traceback" not in processes.output("commander")


def test_the_commander_never_loads_torch():
    code = "import sys, vla_ros.nodes.commander; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
