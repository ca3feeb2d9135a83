"""Simulated time that stands still is noticed by the wall clock."""

from __future__ import annotations

import time

import numpy as np
import pytest
from rosgraph_msgs.msg import Clock

from vla_ros.ros.convert import to_time
from vla_ros.ros.process.clock_watch import ClockWatch

pytestmark = pytest.mark.live


@pytest.mark.parametrize(("moves", "patience_s"), [(True, 0.5), (False, 2.1)])
def test_it_calls_only_while_the_clock_stands_still(rclpy_context, moves, patience_s):
    """Where the robot moves on, soon: then time stands still for us alone."""
    import rclpy
    from rclpy.parameter import Parameter

    node = rclpy.create_node("watched", parameter_overrides=[Parameter("use_sim_time", value=True)])
    publisher = node.create_publisher(Clock, "/clock", 1)
    calls: list[float] = []
    watch = ClockWatch(
        node, lambda: calls.append(time.monotonic()), lambda: np.full(2, time.monotonic() if moves else 0.5)
    )

    def spin(seconds: float, running: bool) -> None:
        start_s = time.monotonic()
        while (now_s := time.monotonic()) < start_s + seconds:
            if running:
                publisher.publish(Clock(clock=to_time(int(now_s * 1e9))))
            rclpy.spin_once(node, timeout_sec=0.01)

    spin(1.0, True)
    calls.clear()  # before the first /clock, time stood still
    spin(0.7, True)
    assert calls == []
    stopped_s = time.monotonic()
    while not calls and time.monotonic() < stopped_s + 5.0:
        spin(0.05, False)
    assert calls and patience_s - 0.25 < calls[0] - stopped_s < patience_s + 1.5  # where something else runs
    count = len(calls)
    spin(0.5, True)
    assert len(calls) <= count + 1
    watch.close()
    node.destroy_node()
