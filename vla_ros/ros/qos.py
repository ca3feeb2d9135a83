"""Quality of service, one profile a purpose. Queues are short: the newest wins."""

from __future__ import annotations

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy

SENSOR = QoSProfile(depth=2, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
EVENTS = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
LEASE_S = 0.3

CHUNK = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, liveliness=LivelinessPolicy.AUTOMATIC,
    liveliness_lease_duration=Duration(seconds=LEASE_S),
)  # fmt: skip
"""A policy process that dies or freezes is noticed within the lease, without waiting for its plan to grow old."""
