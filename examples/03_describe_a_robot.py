"""Describe a robot in YAML, and see what is said about mistakes.

    python examples/03_describe_a_robot.py

A robot is one YAML file: cameras, joints with limits, where commands go, when to stop. It is read strictly.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import vla_ros
from vla_ros.core.errors import ConfigError

ROBOT = """
name: two_joints
cameras:
  - {name: front, topic: /camera/image_raw, width: 640, height: 480, rate_hz: 30}
joints:
  - {name: shoulder, lower: -3.14, upper: 3.14, max_velocity: 1.0, max_acceleration: 4.0, max_jerk: 100.0}
  - {name: gripper, kind: gripper, lower: 0.0, upper: 1.0, max_velocity: 5.0, max_acceleration: 50.0, max_jerk: 500.0}
command: {topic: /forward_position_controller/commands, type: Float64MultiArray, rate_hz: 100}
"""
MISTAKES = {
    "a misspelt key": ("max_velocity: 1.0", "max_velocty: 1.0"),
    "limits the wrong way round": ("lower: -3.14, upper: 3.14", "lower: 3.14, upper: -3.14"),
    "a message type that does not exist": ("Float64MultiArray", "Float64Array"),
}


def main() -> None:
    """Load the description, then three with a mistake in them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "two_joints.yaml"
        path.write_text(ROBOT)
        robot = vla_ros.load_robot(path)
        print(f"{robot.name}: joints {', '.join(robot.joint_names)}; cameras {', '.join(robot.camera_names)}")
        for mistake, (right, wrong) in MISTAKES.items():
            path.write_text(ROBOT.replace(right, wrong))
            try:
                vla_ros.load_robot(path)
            except ConfigError as error:
                print(f"{mistake}: {str(error).replace(folder + '/', '')}")


if __name__ == "__main__":
    main()
