"""A bench beside the graph hears the figures that our nodes tell, and nobody else's."""

from __future__ import annotations

import pytest
from waiting import until

pytestmark = pytest.mark.live


def test_numbers_of_our_nodes_are_heard_in_their_order(rclpy_context):
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    from vla_ros.bench.diagnostics_log import listening
    from vla_ros.ros.qos import EVENTS

    node = rclpy.create_node("teller")
    publisher = node.create_publisher(DiagnosticArray, "/diagnostics", EVENTS)

    def tell(package: str, **values: str) -> None:
        pairs = [KeyValue(key=key, value=value) for key, value in {"package": package, **values}.items()]
        status = DiagnosticStatus(name="/policy", values=pairs)
        publisher.publish(DiagnosticArray(status=[status]))

    with listening() as figures:
        until(lambda: publisher.get_subscription_count() == 1, what="the listener")
        tell("others", rate="7")
        tell("vla_ros", rate="1.5", why="all is well", p99="nan")
        tell("vla_ros", rate="2.5")
        until(lambda: len(figures["policy", "rate"]) >= 2, what="the figures")
        assert figures["policy", "rate"] == [1.5, 2.5]
        assert not figures["policy", "why"] and not figures["policy", "p99"]
    node.destroy_node()
