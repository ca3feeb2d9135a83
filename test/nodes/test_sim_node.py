"""The simulator's node, in the test's own process."""

from __future__ import annotations

import time

import pytest
from live_nodes import edited_robot

pytestmark = pytest.mark.live


def test_a_viewer_that_comes_late_does_not_hold_up_the_joint_states(rclpy_context):
    """Opening a renderer takes longer than a guard waits for joint states: it must be over when the node is there."""
    import rclpy
    from sensor_msgs.msg import Image

    from vla_ros.nodes.sim import SimNode
    from vla_ros.ros.qos import SENSOR

    node, viewer = SimNode(), rclpy.create_node("viewer")
    frames: list[int] = []
    steps_s: list[float] = []
    viewer.create_subscription(Image, "/overview/image_raw", lambda m: frames.append(m.width), SENSOR)
    deadline = time.monotonic() + 20
    while len(frames) < 5 and time.monotonic() < deadline:
        before_s = time.thread_time()  # of this thread alone: whatever else the machine does
        rclpy.spin_once(node, timeout_sec=0.02)
        steps_s.append(time.thread_time() - before_s)
        rclpy.spin_once(viewer, timeout_sec=0.0)
    node.close()
    node.destroy_node()
    viewer.destroy_node()
    assert frames == 5 * [320]
    slowest_s, usual_s = max(steps_s), sorted(steps_s)[-5]  # the others with a picture are as slow on a slow machine
    assert slowest_s < max(0.06, 3 * usual_s), f"one step of the simulator took {slowest_s:.3f} s of computing"


def test_velocities_are_not_taken_for_positions(processes, tmp_path):
    robot = edited_robot(tmp_path, "rate_hz: 100}", "rate_hz: 100, interface: velocity}")
    assert processes.start("sim", robot=robot).wait(60) == 2
    said = processes.output("sim")
    assert "the tabletop takes positions; set interface: position" in said and "Traceback" not in said
