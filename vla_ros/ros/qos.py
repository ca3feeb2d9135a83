"""Quality of service, one profile a purpose. Queues are short: the newest wins."""

from __future__ import annotations

from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

SENSOR = QoSProfile(depth=2, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
EVENTS = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)

_DEADLINE_PERIODS = 5


def quietly() -> SubscriptionEventCallbacks:
    """No warning of publishers that offer another quality: another subscription hears those."""
    return SubscriptionEventCallbacks(use_default_callbacks=False)


def actuation(rate_hz: float) -> QoSProfile:
    """For commands to a robot: at least one every five control periods, and a driver may ask to be told where not.

    Asked for in DDS (the subscription's `deadline`), it needs no message of ours to notice that the commander is gone.
    """
    deadline = Duration(seconds=_DEADLINE_PERIODS / rate_hz)
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, deadline=deadline)
