"""The topic `stop`: whoever publishes on it stops the robot, as std_msgs/Empty or Bool, reliable or best-effort."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from std_msgs.msg import Bool, Empty

from vla_ros.core.text import listed
from vla_ros.ros.commanding.aside import Aside
from vla_ros.ros.qos import STOP_BEST_EFFORT, STOP_RELIABLE, quietly

TOPIC = "stop"
HEARD = ("std_msgs/msg/Empty", "std_msgs/msg/Bool")
REASON = "stop requested on the stop topic"


class StopListener:
    """Calls `stop(reason)`, from two threads. A Bool that is false says nothing.

    Of each type two subscriptions: one takes what any publisher offers, the other has lost messages of a reliable
    publisher sent again. A stop that comes twice is one stop.
    """

    def __init__(self, node: Node, aside: Aside, stop: Callable[[str], None]) -> None:
        self._node, self._stop = node, stop
        self._topic = node.resolve_topic_name(TOPIC)
        qualities = (STOP_RELIABLE, STOP_BEST_EFFORT)
        self._heard = [
            node.create_subscription(Empty, TOPIC, self._on_empty, qos, event_callbacks=quietly()) for qos in qualities
        ]
        for qos in qualities:  # of the other participant; they end with it
            aside.listen(Bool, self._topic, self._on_bool, qos)

    def problem(self) -> str:
        """Return what is published there and not heard, in words; empty if all is heard."""
        found = {one.topic_type for one in self._node.get_publishers_info_by_topic(self._topic)}
        wrong = sorted(found.difference(HEARD))
        return f"{listed(wrong)} on {self._topic} is not heard; publish {' or '.join(HEARD)}" if wrong else ""

    def close(self) -> None:
        """Listen no longer."""
        for subscription in self._heard:
            self._node.destroy_subscription(subscription)

    def _on_empty(self, _: Empty) -> None:
        self._stop(REASON)

    def _on_bool(self, message: Bool) -> None:
        if message.data:
            self._stop(REASON)
