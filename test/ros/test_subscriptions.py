"""The robot's topics: what is right becomes an observation, what is wrong is refused, counted and named."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vla_ros.core.robot import load_robot
from vla_ros.core.streams.synchroniser import Synchroniser

pytestmark = pytest.mark.live

ROBOT = load_robot("ur5e_tabletop")
FRAME = np.zeros((64, 64, 3), dtype=np.uint8)


class Robot:
    """A node with `Inputs`, and the robot's publishers beside it."""

    def __init__(self) -> None:
        import rclpy
        from sensor_msgs.msg import Image, JointState
        from std_msgs.msg import String

        from vla_ros.ros.qos import LATCHED
        from vla_ros.ros.subscriptions import Inputs

        self.node = node = rclpy.create_node("robot")
        self.synchroniser = Synchroniser(ROBOT)
        self.images, self.jumps, self.sentences = 0, 0, []
        self.inputs = Inputs(
            node, ROBOT, self.synchroniser, ROBOT.camera_names, self._count, self.sentences.append, self._jumped
        )
        self.cameras = {c.name: node.create_publisher(Image, c.topic, 10) for c in ROBOT.cameras}
        self.states = node.create_publisher(JointState, ROBOT.joint_states_topic, 50)
        self.instruction = node.create_publisher(String, ROBOT.instruction_topic, LATCHED)
        self.until(lambda: all(p.get_subscription_count() for p in (*self.cameras.values(), self.instruction)))

    def _jumped(self) -> None:
        self.jumps += 1
        self.synchroniser.reset()

    def _count(self) -> None:
        self.images += 1

    def now_ns(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def until(self, condition: Callable[[], Any]) -> None:
        import rclpy

        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, f"waited 10 s; the last refusal was '{self.inputs.last_error}'"
            rclpy.spin_once(self.node, timeout_sec=0.02)

    def refused(self, stream: str) -> str:
        """Wait for the next refusal of a stream; its reason."""
        before = self.inputs.refused[stream]
        self.until(lambda: self.inputs.refused[stream] > before)
        return self.inputs.last_error

    def all_is_well(self) -> bool:
        """Publish one good set; whether an observation comes of it."""
        from vla_ros.ros.convert import array_to_joint_state
        from vla_ros.ros.images import array_to_image

        stamp_ns = self.now_ns()
        self.states.publish(array_to_joint_state(ROBOT.joint_names, np.zeros(7), stamp_ns))
        for camera in self.cameras.values():
            camera.publish(array_to_image(FRAME, stamp_ns))
        images = self.images
        self.until(lambda: self.images == images + 2 and self.synchroniser.observe(self.now_ns(), repeat=True))
        return True


@pytest.fixture
def robot(rclpy_context: object):
    found = Robot()
    yield found
    found.node.destroy_node()


def spin_once(node: Any, timeout_sec: float) -> None:
    import rclpy

    rclpy.spin_once(node, timeout_sec=timeout_sec)


def test_images_that_do_not_fit_are_refused_and_the_next_good_one_is_taken(robot):
    from vla_ros.ros.images import array_to_image

    front = robot.cameras["front"]
    for change, reason in (
        ({"encoding": "bgr8"}, "camera 'front': image encoding is 'bgr8'"),
        ({"step": 5}, "camera 'front': image step is 5"),
        ({"height": 65}, "camera 'front': image data holds"),
        ({"height": 32}, r"camera 'front': the image is 64x32; the robot's YAML says 64x64"),
    ):
        message = array_to_image(FRAME, robot.now_ns())
        for name, value in change.items():
            setattr(message, name, value)
        front.publish(message)
        assert reason in robot.refused("front")
    front.publish(array_to_image(FRAME, robot.now_ns() + 10**9))
    assert "in the future" in robot.refused("front")
    assert robot.images == 0 and robot.all_is_well()
    assert robot.inputs.figures(robot.now_ns())["front refused"] == 5


def test_joint_states_that_do_not_fit_are_refused(robot):
    from vla_ros.ros.convert import array_to_joint_state

    robot.states.publish(array_to_joint_state(ROBOT.joint_names[1:], np.zeros(6), robot.now_ns()))
    assert "joint states lack shoulder_pan_joint" in robot.refused("joint_states")
    positions = np.zeros(7)
    positions[2] = np.nan
    robot.states.publish(array_to_joint_state(ROBOT.joint_names, positions, robot.now_ns()))
    assert "not finite: elbow_joint" in robot.refused("joint_states")
    assert robot.all_is_well()


def test_joint_states_of_other_machines_are_no_mistake_and_do_not_crowd_out_the_robots(robot):
    from vla_ros.ros.convert import array_to_joint_state

    robot.until(robot.states.get_subscription_count)
    for _ in range(20):  # in one go: a queue of two would lose the robot's own among them
        robot.states.publish(array_to_joint_state(("x", "y"), np.zeros(2), robot.now_ns()))
    robot.states.publish(array_to_joint_state(ROBOT.joint_names, np.zeros(7), robot.now_ns()))
    for _ in range(20):
        robot.states.publish(array_to_joint_state(("x", "y"), np.zeros(2), robot.now_ns()))
    robot.until(lambda: robot.inputs.foreign == 40)
    assert robot.inputs.meters["joint_states"].count == 1
    assert not robot.inputs.refused and robot.inputs.last_error == ""
    assert robot.inputs.figures(robot.now_ns())["joint_states foreign"] == 40


def test_a_sentence_that_cannot_be_obeyed_ends_the_former_one(robot):
    from rclpy.serialization import serialize_message
    from std_msgs.msg import String

    undecodable = serialize_message(String(data="push it")).replace(b"push", b"\xff\xfesh")
    for wrong, reason in (
        (String(data="x" * 10_000), "10000 characters, must be at most 512"),
        (String(data="push\x07 it"), "control characters"),
        (undecodable, "not UTF-8"),
    ):
        robot.instruction.publish(String(data=" push it "))
        robot.until(lambda: robot.synchroniser.instruction == "push it" and not robot.inputs.instruction_error)
        robot.instruction.publish(wrong)
        assert reason in robot.refused("instruction")
        assert robot.synchroniser.instruction == "" and reason in robot.inputs.instruction_error
    assert robot.sentences == ["push it"] * 3


def test_the_same_sentence_again_and_again_changes_nothing(robot):
    """A page that publishes at 10 Hz what it shows doubled the inferences: each made the next observation due."""
    from std_msgs.msg import String

    for sentence in ("push it", "push it", "push it", " push\u00a0it ", "lift it"):
        robot.instruction.publish(String(data=sentence))
        spin_once(robot.node, timeout_sec=0.05)
    robot.until(lambda: robot.synchroniser.instruction == "lift it")
    assert robot.sentences == ["push it", "lift it"]


def test_what_is_refused_is_said_where_nothing_is_taken(robot):
    """Not "nothing received yet" while a hundred came."""
    from vla_ros.ros.convert import array_to_joint_state
    from vla_ros.ros.images import array_to_image

    def reason():
        robot.synchroniser.observe(robot.now_ns(), repeat=True)
        return robot.inputs.explained(robot.synchroniser.reason)

    assert reason() == "camera 'front': nothing received yet" and robot.inputs.trouble == ""
    for _ in range(4):
        robot.cameras["front"].publish(array_to_image(FRAME[:32], robot.now_ns()))
        robot.refused("front")
    assert reason().startswith("camera 'front': 4 refused in a row, the last: the image is 64x32")
    assert robot.inputs.trouble == reason()
    assert robot.all_is_well() and robot.inputs.trouble == ""
    for _ in range(3):
        robot.states.publish(array_to_joint_state(ROBOT.joint_names[1:], np.zeros(6), robot.now_ns()))
        robot.refused("joint_states")
    assert robot.inputs.trouble == (
        "joint states: 3 refused in a row, the last: lack shoulder_pan_joint; they hold "
        + ", ".join(ROBOT.joint_names[1:])
    )


def test_another_machine_on_the_joint_topic_is_no_fault(robot):
    from vla_ros.ros.convert import array_to_joint_state

    robot.states.publish(array_to_joint_state(("rail", "turntable"), np.zeros(2), robot.now_ns()))
    robot.until(lambda: robot.inputs.foreign == 1)
    why = robot.inputs.explained("joint states: nothing received yet")
    assert why == "joint states: none of this robot's yet; 1 are of rail, turntable"
    assert robot.all_is_well() and robot.inputs.refused["joint_states"] == 0


def test_a_wall_clock_that_is_set_back_begins_anew(robot, monkeypatch):
    """Else all that comes would be older than what came before, for as long as the clock went back."""
    from rclpy.duration import Duration

    assert robot.all_is_well() and robot.jumps == 0
    clock = robot.node.get_clock()

    class SetBack:
        def now(self):
            return clock.now() - Duration(seconds=30)

    monkeypatch.setattr(robot.node, "get_clock", SetBack)
    assert robot.all_is_well() and robot.jumps == 1
    assert robot.all_is_well() and robot.jumps == 1
