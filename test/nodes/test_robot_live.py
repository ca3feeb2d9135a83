"""`vla-ros robot`: a YAML drafted from a live robot passes its check, and the commander arms with it unedited."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from descriptions import ARM
from live_nodes import Processes, World
from waiting import until

from vla_ros.core.robot import load_robot

pytestmark = pytest.mark.live

JOINTS, AT = ("left_finger_joint", "elbow", "shoulder"), (0.02, 4.0, 0.5)  # an elbow that has turned more than half


class Arm:
    """The arm of the URDF, standing still: its description, joint states, cameras and controllers."""

    def __init__(self, node: Any, namespace: str) -> None:
        from sensor_msgs.msg import CompressedImage, Image, JointState
        from std_msgs.msg import Float64MultiArray, String

        from vla_ros.ros.qos import COMMAND, LATCHED, SENSOR

        self._node = node
        self._description = node.create_publisher(String, f"{namespace}/robot_description", LATCHED)
        self._description.publish(String(data=ARM))
        self._states = node.create_publisher(JointState, f"{namespace}/joint_states", SENSOR)
        self._raw = node.create_publisher(Image, f"{namespace}/front/color/image_raw", SENSOR)
        self._packed = node.create_publisher(CompressedImage, f"{namespace}/wrist/image_raw/compressed", SENSOR)
        for name in ("forward_position_controller", "gripper_controller"):
            node.create_subscription(Float64MultiArray, f"{namespace}/{name}/commands", lambda _: None, COMMAND)
        node.create_timer(0.01, self._tell)
        node.create_timer(0.1, self._show)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _tell(self) -> None:
        from vla_ros.ros.convert import array_to_joint_state

        self._states.publish(array_to_joint_state(JOINTS, AT, self._now_ns()))

    def _show(self) -> None:
        from vla_ros.ros.images import array_to_compressed, array_to_image

        frame = np.full((48, 64, 3), 90, dtype=np.uint8)
        self._raw.publish(array_to_image(frame, self._now_ns()))
        self._packed.publish(array_to_compressed(frame, self._now_ns()))


def vla_ros(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "vla_ros.cli.main", *map(str, words)]
    return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.parametrize("namespace", ["", "/left"])
def test_a_drafted_robot_passes_its_check_and_arms(
    world: World, processes: Processes, tmp_path: Path, namespace: str
) -> None:
    Arm(world.node, namespace)
    path = tmp_path / "robot.yaml"
    where = ("--seconds", 1, "--namespace", namespace)
    said = vla_ros("robot", "init", path, *where)
    assert said.returncode == 0, said.stderr
    robot = load_robot(path)
    assert [(c.name, c.topic, c.width, c.height, c.compressed) for c in robot.cameras] == [
        ("front", f"{namespace}/front/color/image_raw", 64, 48, False),
        ("wrist", f"{namespace}/wrist/image_raw", 64, 48, True),
    ]
    assert robot.joint_names == ("shoulder", "elbow", "left_finger_joint")
    assert robot.joint_states_topic == f"{namespace}/joint_states"
    checked = vla_ros("robot", "check", path, *where)
    assert checked.returncode == 0 and "wrong" not in checked.stdout, checked.stdout + checked.stderr
    processes.start("commander", robot=path)
    until(lambda: "commander" in world.diagnostics, what="the commander")
    until(lambda: world.trigger("commander/arm")[0], 10, "armed")
    beside = vla_ros("robot", "check", path, *where)
    assert beside.returncode == 1 and "others publish there; end them" in beside.stdout


def test_what_is_missing_is_one_line(world: World, tmp_path: Path) -> None:
    none = vla_ros("robot", "init", tmp_path / "robot.yaml", "--seconds", 0.2)
    assert none.returncode == 2 and "no URDF: nobody publishes /robot_description" in none.stderr
    taken = vla_ros("robot", "init", tmp_path, "--seconds", 0)
    assert taken.returncode == 2 and "exists; name another file" in taken.stderr
    alone = vla_ros("robot", "check", "ur5e", "--seconds", 0.2)
    assert alone.returncode == 1 and "camera front: nobody publishes images on" in alone.stdout
