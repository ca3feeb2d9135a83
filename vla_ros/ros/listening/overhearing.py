"""One topic as bytes, from everyone who publishes on it, whatever quality they offer, and each message once.

A subscription hears only who offers at least what it asks for. Publishers of one topic differ (a latched instruction
and a person's `ros2 topic pub`), and come one after the other: for each quality there is a subscription of its own, and
what two of them hear is taken once.
"""

from __future__ import annotations

import inspect
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from vla_ros.ros.discovery import DEPTH

REMEMBERED = 4 * DEPTH  # messages, so many as two subscriptions may be apart
_TWO = inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("data", "info")])


class Overhearing:
    """Gives every message's bytes to `take`. topic: as the node's own publishers would call it; rclpy resolves it.

    heard: messages so far. last_s: when the last one came (`time.monotonic`), or when listening began.
    """

    def __init__(self, node: Node, kind: Any, topic: str, take: Callable[[bytes], None]) -> None:
        self._node, self._kind, self._topic, self._take = node, kind, topic, take
        self._subscriptions: dict[tuple[bool, bool], Any] = {}
        self._known: set[Any] = set()
        self._order: deque[Any] = deque()
        self.heard, self.last_s = 0, time.monotonic()

    def hear(self, offered: Iterable[QoSProfile]) -> None:
        """Hear publishers of these qualities, too."""
        for profile in offered:
            quality = (
                profile.reliability == ReliabilityPolicy.RELIABLE,
                profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
            )
            if quality not in self._subscriptions:
                self._subscriptions[quality] = self._subscribe(*quality)

    def close(self) -> None:
        """Hear nothing more."""
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _subscribe(self, reliable: bool, latched: bool) -> Any:
        def on_message(*given: Any) -> None:
            given = given[0] if isinstance(given[0], tuple) else given  # rclpy's EventsExecutor: both as one tuple
            self._on_message(given[0], given[1] if len(given) > 1 else {})

        on_message.__signature__ = _TWO  # type: ignore[attr-defined]  # by which rclpy knows that we want the info, too
        profile = QoSProfile(
            depth=DEPTH,
            history=HistoryPolicy.KEEP_LAST,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        return self._node.create_subscription(self._kind, self._topic, on_message, profile, raw=True)

    def _on_message(self, data: bytes, info: dict[str, Any]) -> None:
        key = _identity(data, info)
        if key in self._known:
            return
        self._known.add(key)
        self._order.append(key)
        if len(self._order) > REMEMBERED:
            self._known.discard(self._order.popleft())
        self.heard, self.last_s = self.heard + 1, time.monotonic()
        self._take(data)


def _identity(data: bytes, info: dict[str, Any]) -> Any:
    """Return what no other message has: its publisher's number, or its time and content.

    Without a time every message is new: better twice than never.
    """
    who, number = info.get("publisher_gid"), info.get("publication_sequence_number")
    who = who["data"] if isinstance(who, dict) else who
    if who and number is not None:
        return bytes(who), number
    return (info["source_timestamp"], zlib.crc32(data)) if info.get("source_timestamp") else object()
