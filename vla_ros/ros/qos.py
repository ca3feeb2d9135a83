"""Quality of service, one profile a purpose. Queues are short: the newest wins."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

SENSOR = QoSProfile(depth=2, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
EVENTS = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
