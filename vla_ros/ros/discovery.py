"""Topics as others publish them: their type and quality of service, found in the running graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile

DEPTH = 200


@dataclass(frozen=True, slots=True)
class Offered:
    """A topic with publishers. qos: one profile a publisher. type_hash: RIHS01, or empty. others: further types."""

    topic: str
    type: str
    qos: tuple[QoSProfile, ...]
    type_hash: str
    others: tuple[str, ...] = ()


def offered(node: Node, topic: str, preferred: str = "") -> Offered | None:
    """Return what is published on `topic` (named as the node's own publishers would) now; None without a publisher.

    preferred: the type to hear where there are several; else the first one's.
    """
    found = node.get_publishers_info_by_topic(topic)
    if not found:
        return None
    first = next((one for one in found if one.topic_type == preferred), found[0])
    same = tuple(one.qos_profile for one in found if one.topic_type == first.topic_type)
    others = tuple(sorted({one.topic_type for one in found} - {first.topic_type}))
    return Offered(topic, first.topic_type, same, _hash(first.topic_type_hash), others)


def _hash(found: Any) -> str:
    return "" if found is None or found.version < 1 else f"RIHS{found.version:02d}_{bytes(found.value).hex()}"
