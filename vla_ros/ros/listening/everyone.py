"""Hearing everyone who publishes on a topic, whatever quality they publish with, and each message once.

DDS matches a subscription only with publishers that offer at least what it asks for: one that asks for the last message
of before (transient local) never hears a publisher that keeps none, one that asks for reliability none that is best
effort, and one that asks for neither misses what was said before it came. So there is one subscription for each.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from vla_ros.ros.qos import quietly

PUBLISHERS = 64  # remembered; `ros2 topic pub --once` is a new one every time
_TWO = inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("message", "info")])


class Heard:
    """Which messages were heard, by publisher. Kept over several subscriptions, it knows again what they repeat."""

    def __init__(self) -> None:
        self._last: OrderedDict[bytes, int] = OrderedDict()

    def is_new(self, info: dict[str, Any]) -> bool:
        """Return whether a message (by its `rclpy` message info) is later than all heard from its publisher.

        Subscriptions with queues of their own may give a publisher's second message before its first one: then the
        first is out of date. Without an identity or an order, all is new.
        """
        who, order = _publisher(info), info.get("publication_sequence_number")
        if order is None or not who:  # older rclpy tells no publisher: then the newest of all wins
            order = info.get("source_timestamp") or None
        if order is None:
            return True
        if order <= self._last.get(who, -1):
            return False
        self._last[who] = order
        self._last.move_to_end(who)
        while len(self._last) > PUBLISHERS:
            self._last.popitem(last=False)
        return True


def hear_everyone(
    node: Node,
    kind: Any,
    topic: str,
    callback: Callable[[Any], None],
    *,
    heard: Heard | None = None,
    latched: bool = True,
    depth: int = 5,
) -> list[Any]:
    """Subscribe, and return the subscriptions, to be destroyed together. `callback` gets each message once.

    heard: where a later call shall know what this one heard. latched: hear also what was said before.
    """
    known = heard or Heard()

    def on_message(*given: Any) -> None:
        message, info = given if len(given) == 2 else given[0]  # rclpy's EventsExecutor gives both as one tuple
        if known.is_new(info):
            callback(message)

    on_message.__signature__ = _TWO  # type: ignore[attr-defined]  # by which rclpy knows that we want the info, too
    return [
        node.create_subscription(kind, topic, on_message, qos, event_callbacks=quietly())
        for qos in _profiles(latched, depth)
    ]


def _profiles(latched: bool, depth: int) -> list[QoSProfile]:
    reliable, effort = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
    found = [QoSProfile(depth=depth, reliability=policy) for policy in (reliable, effort)]
    if latched:
        kept = DurabilityPolicy.TRANSIENT_LOCAL
        found.insert(0, QoSProfile(depth=depth, reliability=reliable, durability=kept))
    return found


def _publisher(info: dict[str, Any]) -> bytes:
    given = info.get("publisher_gid")
    return bytes(given["data"]) if isinstance(given, dict) else bytes(given or b"")
