"""Topics as others publish them: their type and quality of service, found in the running graph, and heard as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

DEPTH = 200


@dataclass(frozen=True, slots=True)
class Offered:
    """A topic with publishers. qos: one profile a publisher. type_hash: RIHS01, or empty."""

    topic: str
    type: str
    qos: tuple[QoSProfile, ...]
    type_hash: str


def offered(node: Node, topic: str) -> Offered | None:
    """What is published on `topic` now; None without a publisher other than this node's own."""
    found = node.get_publishers_info_by_topic(topic)
    if not found:
        return None
    first = found[0]
    return Offered(topic, first.topic_type, tuple(one.qos_profile for one in found), _hash(first.topic_type_hash))


def listening(one: Offered) -> QoSProfile:
    """The strongest quality that every publisher of the topic offers."""
    reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in one.qos)
    latched = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in one.qos)
    return QoSProfile(
        depth=DEPTH, history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )  # fmt: skip


def _hash(found: Any) -> str:
    return "" if found is None or found.version < 1 else f"RIHS{found.version:02d}_{bytes(found.value).hex()}"
