"""The simulator's node, in the test's own process."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.live


def test_a_viewer_that_comes_late_does_not_hold_up_the_joint_states(rclpy_context):
    """Opening a renderer takes longer than a guard waits for joint states: it must be over when the node is there."""
    import rclpy
    from sensor_msgs.msg import Image

    from vla_ros.nodes.sim import SimNode
    from vla_ros.ros.qos import SENSOR

    node, viewer = SimNode(), rclpy.create_node("viewer")
    frames: list[int] = []
    viewer.create_subscription(Image, "/overview/image_raw", lambda m: frames.append(m.width), SENSOR)
    slowest_s, deadline = 0.0, time.monotonic() + 20
    while not frames and time.monotonic() < deadline:
        before_s = time.thread_time()  # of this thread alone: whatever else the machine does
        rclpy.spin_once(node, timeout_sec=0.02)
        slowest_s = max(slowest_s, time.thread_time() - before_s)
        rclpy.spin_once(viewer, timeout_sec=0.0)
    node.close()
    node.destroy_node()
    viewer.destroy_node()
    assert frames == [320]
    assert slowest_s < 0.06, f"one step of the simulator took {slowest_s:.3f} s of computing"
