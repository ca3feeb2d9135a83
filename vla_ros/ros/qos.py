"""Quality of service, one profile a purpose. Queues are short: the newest wins."""

from __future__ import annotations

from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

SENSOR = QoSProfile(depth=2, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
# Where several publish, the messages of others fill the queue between two of the robot's own.
STATES = QoSProfile(depth=50, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
CROWD = QoSProfile(depth=20, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
SIGN_OF_LIFE = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
STOP_RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
STOP_BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
EVENTS = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)

_DEADLINE_PERIODS = 5


def quietly() -> SubscriptionEventCallbacks:
    """Suppress warnings about publishers that offer another quality: another subscription hears those."""
    return SubscriptionEventCallbacks(use_default_callbacks=False)


def actuation(rate_hz: float) -> QoSProfile:
    """Return the profile for commands to a robot: one at least every five control periods, which a driver may monitor.

    Asked for in DDS (the subscription's `deadline`), it needs no message of ours to notice that the commander is gone.
    """
    deadline = Duration(seconds=_DEADLINE_PERIODS / rate_hz)
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, deadline=deadline)
