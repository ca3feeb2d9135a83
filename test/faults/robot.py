"""The robot around the nodes, played by the test: cameras, joints that follow their commands, a person who speaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from recording import Recording, Sent
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import ActionChunk
from vla_ros.ros.convert import COMMAND_TYPES, array_to_joint_state, chunk_to_trajectory, command_to_array, to_time
from vla_ros.ros.images import array_to_compressed, array_to_image
from vla_ros.ros.qos import COMMAND, LATCHED, SENSOR

HOME = np.array([-0.2, -1.5, 1.9, -1.97, -1.57, -1.77, 0.0])
SENTENCE = "push the red block to the left"
STEP_NS, STEPS = 100_000_000, 12
SWING_RAD, SWING_RAD_S = 0.6, 0.5  # turns after 3 s, when every row is over
BY_HAND = 0.01  # that a joint is carried in 10 ms: slower than it may be
FOLLOWS = 0.5  # of the way to the command that a joint goes in 10 ms
Alter = Callable[[Any], Any]  # a message -> what is published in its place; None: nothing


class SimClock:
    """Simulated time, which a test may stop or move."""

    def __init__(self) -> None:
        self.running = True
        self._ns, self._wall_ns = 1_000_000_000_000, time.time_ns()

    def now_ns(self) -> int:
        """The time [ns]."""
        wall_ns = time.time_ns()
        self._ns += (wall_ns - self._wall_ns) if self.running else 0
        self._wall_ns = wall_ns
        return self._ns

    def jump(self, by_s: float) -> None:
        """Move the time."""
        self._ns += round(by_s * 1e9)


class Robot:
    """Publishes what a robot publishes; `alter[name]` changes or drops the messages of one topic.

    Names: every camera, joint_states, clock, and chunk for the scripted plans that take the policy's place.
    """

    def __init__(self, node: Any, spec: RobotSpec, clock: SimClock | None = None) -> None:
        self.spec, self.recording, self.position = spec, Recording(spec), HOME.copy()
        self.alter: dict[str, Alter] = {}
        self.chunks = 0
        self.follows = True
        self.longest_gap_s, self._joints_s = 0.0, time.monotonic()
        self.clock = clock
        self.node = node
        self._command = HOME.copy()
        self._by_hand = True
        self._swing: tuple[int, Any] | None = None
        rng = np.random.default_rng(0)
        self._frame = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        self._publishers = {
            camera.name: node.create_publisher(CompressedImage, f"{camera.topic}/compressed", SENSOR)
            if camera.compressed
            else node.create_publisher(Image, camera.topic, SENSOR)
            for camera in spec.cameras
        }
        self._publishers["joint_states"] = node.create_publisher(JointState, spec.joint_states_topic, SENSOR)
        self._publishers["chunk"] = node.create_publisher(JointTrajectory, "action_chunk", COMMAND)
        self._publishers["instruction"] = node.create_publisher(String, spec.instruction_topic, LATCHED)
        self._drifts = spec.command.interface == "velocity"
        self.last = np.zeros_like(HOME)  # the last command, as it was sent
        node.create_subscription(COMMAND_TYPES[spec.command.type], spec.command.topic, self._on_command, 50)
        node.create_subscription(JointTrajectory, "action_chunk", self._on_chunk, COMMAND)
        node.create_timer(0.01, self._joints)
        node.create_timer(0.05, self._cameras)
        node.create_timer(0.1, self._plan)
        if clock is not None:
            self._publishers["clock"] = node.create_publisher(Clock, "/clock", 10)
            node.create_timer(0.01, self._tell_time)

    def now_ns(self) -> int:
        """The robot's time: the machine's, or the simulated one."""
        return time.time_ns() if self.clock is None else self.clock.now_ns()

    def say(self, sentence: str) -> None:
        """Give the instruction."""
        self._publishers["instruction"].publish(String(data=sentence))

    def say_bytes(self, sentence: bytes) -> None:
        """Give an instruction of any bytes, as a program in another language might."""
        data = sentence + b"\0"
        self._publishers["instruction"].publish(b"\0\1\0\0" + len(data).to_bytes(4, "little") + data)

    def swing(self) -> None:
        """Plan a slow swing of the first joint from where the robot stands, in the policy's place."""
        self._swing = self.now_ns(), self.position.copy()

    def rest(self) -> None:
        """Plan nothing more."""
        self._swing = None

    def carry_home(self) -> None:
        """Take the arm home by hand, not at once; commands move it again after `let_go`."""
        self._by_hand = True

    def let_go(self) -> None:
        """Follow commands."""
        self._command, self._by_hand = self.position.copy(), False
        self.last = np.zeros_like(HOME) if self._drifts else self.last

    def _publish(self, name: str, message: Any) -> None:
        altered = self.alter.get(name, lambda same: same)(message)
        if altered is not None:
            self._publishers[name].publish(altered)

    def _on_command(self, message: Any, info: dict[str, Any]) -> None:
        self.last = command_to_array(message, self.spec.joint_names)
        position = self.position.copy() if self._drifts else self.last
        stamp_ns = int(info["source_timestamp"])
        if hasattr(message, "header"):
            stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        sent_s = info["source_timestamp"] / 1e9
        self.recording.add(Sent(sent_s, stamp_ns, int(info["publication_sequence_number"]), position))
        self._command = position

    def _on_chunk(self, _: JointTrajectory) -> None:
        self.chunks += 1

    def _joints(self) -> None:
        before_s, self._joints_s = self._joints_s, time.monotonic()
        self.longest_gap_s = max(self.longest_gap_s, self._joints_s - before_s)
        if self._by_hand:
            self.position = self.position + np.clip(HOME - self.position, -BY_HAND, BY_HAND)
        elif self.follows and self._drifts:  # whatever comes of it: as a drive does
            self.position = self.position + self.last * (self._joints_s - before_s)
        elif self.follows:
            self.position = self.position + FOLLOWS * (self._command - self.position)
        self._publish("joint_states", array_to_joint_state(self.spec.joint_names, self.position, self.now_ns()))

    def _cameras(self) -> None:
        now_ns = self.now_ns()
        for camera in self.spec.cameras:
            make: Callable[..., Any] = array_to_compressed if camera.compressed else array_to_image
            self._publish(camera.name, make(self._frame, now_ns))

    def _plan(self) -> None:
        if self._swing is None:
            return
        start_ns, base = self._swing
        now_ns = self.now_ns()
        actions = np.repeat(base[None], STEPS, axis=0)
        moments_s = (now_ns - start_ns + STEP_NS * np.arange(1, STEPS + 1)) / 1e9
        actions[:, 0] += SWING_RAD * np.sin(SWING_RAD_S * moments_s)
        chunk = ActionChunk(now_ns, now_ns + STEP_NS, STEP_NS, actions.astype(np.float32), self.spec.joint_names)
        self._publish("chunk", chunk_to_trajectory(chunk))

    def _tell_time(self) -> None:
        self._publish("clock", Clock(clock=to_time(self.now_ns())))
