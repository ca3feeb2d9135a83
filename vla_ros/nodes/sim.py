"""The simulated robot: the embedded tabletop behind the topics of a real one, in real time."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and mujoco: two cores are shared with the policy

import json
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Bool, Empty
from std_srvs.srv import Trigger

from vla_ros.core.errors import ConfigError, MessageError, VlaRosError, did_you_mean
from vla_ros.core.robot import RobotSpec, load_robot
from vla_ros.core.types import NS_PER_S
from vla_ros.ros.convert import COMMAND_TYPES, array_to_joint_state, command_to_array, to_time
from vla_ros.ros.diagnostics import OK, WARN, Diagnostics, Report
from vla_ros.ros.images import array_to_compressed, array_to_image
from vla_ros.ros.listening.scenes import NEW_SCENE
from vla_ros.ros.parameters import declare, parameter
from vla_ros.ros.process.lifecycle import spin
from vla_ros.ros.qos import COMMAND, EVENTS, LATCHED, SENSOR
from vla_ros.sim.tabletop.tasks import TASKS, wordings
from vla_ros.sim.tabletop.world import JOINTS, Tabletop

STEP_NS = 10_000_000  # physics and joint states: 100 Hz
MAX_STEPS_BEHIND = 20  # more is given up: a simulator that hurries would surprise the policy
OVERVIEW = "overview"


@dataclass(frozen=True, slots=True)
class Parameters:
    """The simulator's parameters; `seed` and `task` may change at any time and hold from the next reset on."""

    robot: str = parameter("ur5e_tabletop", "robot contract: a YAML file, or a name in config/robots")
    camera_rate_hz: float = parameter(10.0, "rate of every camera", low=1.0, high=50.0)
    overview_width: int = parameter(320, "width of /overview/image_raw, for people", low=16, high=1280)
    overview_height: int = parameter(240, "height of /overview/image_raw", low=16, high=960)
    publish_clock: bool = parameter(False, "publish /clock, and stamp everything with simulated time")
    seed: int = parameter(10000, "seed of the next reset", low=0, high=2**31 - 1, read_only=False)
    task: str = parameter("", "task of the next reset; empty: none is judged", read_only=False)


class SimNode(Node):
    """Everything happens in one timer of one thread: the renderer belongs to the thread that uses it."""

    def __init__(self) -> None:
        super().__init__("sim")
        self.parameters = declare(self, Parameters)
        self._robot = load_robot(self.parameters.robot)
        if self._robot.joint_names != JOINTS:
            raise VlaRosError(f"robot '{self._robot.name}': the tabletop's joints are {', '.join(JOINTS)}")
        if wrong := [spec.topic for spec, _ in self._robot.outputs if spec.interface != "position"]:
            raise VlaRosError(
                f"robot '{self._robot.name}': {', '.join(wrong)} carries velocities; "
                "the tabletop takes positions; set interface: position"
            )
        self._tabletop = Tabletop()
        self._sim_ns, self._refused, self._rtf = 0, "", 1.0
        self._frame_every = max(1, round(NS_PER_S / STEP_NS / self.parameters.camera_rate_hz))
        self._steps = 0
        self._reset_scene()
        self._make_topics(self._robot)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self._diagnostics = Diagnostics(self, self._report, self._robot.name)
        for name, width, height, _, _ in self._cameras:
            # The first picture of a size takes longer than a guard waits for joint states: not when a viewer comes.
            self._tabletop.render(name, width, height)
        self._start_s = self._second_s = time.monotonic()
        self._done = self._second_steps = 0
        self.create_timer(STEP_NS / NS_PER_S, self._tick)

    def close(self) -> None:
        """Free the renderer."""
        self._tabletop.close()

    def _make_topics(self, robot: RobotSpec) -> None:
        width, height = self.parameters.overview_width, self.parameters.overview_height
        if unsized := [c.name for c in robot.cameras if not c.width]:
            raise ConfigError(f"camera '{unsized[0]}': the simulator draws at width and height; add both to the YAML")
        cameras = [(c.name, c.topic, c.width, c.height) for c in robot.cameras]
        cameras.append((OVERVIEW, f"/{OVERVIEW}/image_raw", width, height))
        publish = self.create_publisher
        self._cameras = [
            (name, w, h, publish(Image, topic, SENSOR), publish(CompressedImage, f"{topic}/compressed", SENSOR))
            for name, topic, w, h in cameras
        ]
        self._joint_states = self.create_publisher(JointState, robot.joint_states_topic, SENSOR)
        self._success = self.create_publisher(Bool, "~/success", LATCHED)
        self._new_scene = self.create_publisher(Empty, NEW_SCENE, EVENTS)
        self._clock_topic = self.create_publisher(Clock, "/clock", 10) if self.parameters.publish_clock else None
        for spec, columns in robot.outputs:
            callback = partial(self._on_command, tuple(columns))
            self.create_subscription(COMMAND_TYPES[spec.type], spec.topic, callback, COMMAND)

    def _tick(self) -> None:
        """Bring physics up to the wall clock; then show the newest state."""
        behind = int((time.monotonic() - self._start_s) * NS_PER_S / STEP_NS) - self._done
        if behind > MAX_STEPS_BEHIND:
            self._done += behind - MAX_STEPS_BEHIND
            behind = MAX_STEPS_BEHIND
        for _ in range(behind):
            self._tabletop.advance(STEP_NS / NS_PER_S)
        self._done += behind
        self._steps += behind
        self._sim_ns += behind * STEP_NS
        stamp_ns = self._sim_ns if self._clock_topic else int(self.get_clock().now().nanoseconds)
        if self._clock_topic:
            self._clock_topic.publish(Clock(clock=to_time(stamp_ns)))
        if behind:
            self._publish_state(stamp_ns)
        if behind and self._steps // self._frame_every != (self._steps - behind) // self._frame_every:
            self._publish_frames(stamp_ns)

    def _publish_state(self, stamp_ns: int) -> None:
        positions, velocities = self._tabletop.joint_positions(), self._tabletop.joint_velocities()
        self._joint_states.publish(array_to_joint_state(JOINTS, positions, stamp_ns, velocities))

    def _publish_frames(self, stamp_ns: int) -> None:
        """The policy's cameras first: every millisecond counts for them."""
        for name, width, height, raw, compressed in self._cameras:
            wanted = raw.get_subscription_count() > 0, compressed.get_subscription_count() > 0
            if not any(wanted):
                continue
            frame = self._tabletop.render(name, width, height)
            if wanted[0]:
                raw.publish(array_to_image(frame, stamp_ns, name))
            if wanted[1]:
                compressed.publish(array_to_compressed(frame, stamp_ns))
        self._success.publish(Bool(data=bool(self._judged and self._tabletop.success())))

    def _on_command(self, columns: tuple[int, ...], message: Any) -> None:
        names = [JOINTS[column] for column in columns]
        try:
            target = command_to_array(message, names)
            if not np.isfinite(target).all():
                raise MessageError(f"the command must be finite numbers, got {target.tolist()}")
        except MessageError as error:
            self._refused = str(error)
            self.get_logger().warning(f"command refused: {error}", throttle_duration_sec=5.0)
            return
        self._target[list(columns)] = target
        self._tabletop.command(self._target)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset_scene()
        seed, task = self._wanted()
        sentence = wordings(TASKS[task])[0] if task else ""
        response.success = True
        response.message = json.dumps({"task": task, "seed": seed, "instruction": sentence})
        self._success.publish(Bool(data=False))
        self._new_scene.publish(Empty())
        return response

    def _wanted(self) -> tuple[int, str]:
        return int(self.get_parameter("seed").value), str(self.get_parameter("task").value)

    def _reset_scene(self) -> None:
        seed, task = self._wanted()
        self._judged = bool(task)
        self._tabletop.reset(seed, task or next(iter(TASKS)))
        self._target = self._tabletop.joint_positions()

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for changed in parameters:
            if changed.name == "task" and changed.value and changed.value not in TASKS:
                reason = f"no task is called '{changed.value}'{did_you_mean(str(changed.value), TASKS)}"
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _report(self) -> Report:
        now_s = time.monotonic()
        if (elapsed_s := now_s - self._second_s) > 0.5:
            self._rtf = (self._steps - self._second_steps) * STEP_NS / NS_PER_S / elapsed_s
            self._second_s, self._second_steps = now_s, self._steps
        seed, task = self._wanted()
        values: dict[str, object] = {"real_time_factor": self._rtf, "seed": seed, "task": task}
        values["last refused command"] = self._refused
        return Report(OK, "running", values) if self._rtf > 0.9 else Report(WARN, "slower than real time", values)


def main() -> None:
    """Entry point."""
    spin(SimNode, lambda node: None, lambda node: node.close())


if __name__ == "__main__":
    main()
