"""Many topics of the running graph, each heard as bytes from the moment on that somebody publishes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from vla_ros.core.errors import MessageError
from vla_ros.ros.discovery import Offered, offered
from vla_ros.ros.listening.overhearing import Overhearing
from vla_ros.ros.message_types import message_class

GRACE_S, SILENT_S = 2.0, 3.0  # until a topic must have said something; what is steady may pause for so long
AGAIN_EVERY = 5  # looks between those for new publishers of what is heard already
_EFFORT, _RELIABLE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE
EVERYONE = (
    QoSProfile(depth=1, reliability=_EFFORT),
    QoSProfile(depth=1, reliability=_RELIABLE),
    QoSProfile(depth=1, reliability=_RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A topic to hear, by the name that the node's own publishers would give it.

    type: what it should be; empty: whatever it is. needed: somebody must be told where nothing comes. steady: messages
    come all the time. rare: one that comes as soon as its publisher is there must not be missed.
    """

    topic: str
    type: str = ""
    needed: bool = False
    steady: bool = False
    rare: bool = False


class Overheard:
    """Hears topics; `look` now and then.

    found: called with a topic's resolved name and what is known of it, before its first message. take: with each.
    prefix: everything below that is heard, too.
    """

    def __init__(
        self,
        node: Node,
        wanted: Iterable[Wanted],
        prefix: str,
        found: Callable[[str, Offered], None],
        take: Callable[[str, bytes], None],
    ) -> None:
        self._node, self._found, self._take = node, found, take
        self._wanted = {node.resolve_topic_name(one.topic): one for one in reversed(list(wanted))}
        self._prefix = node.resolve_topic_name(f"{prefix}x").removesuffix("x")
        self._heard: dict[str, Overhearing] = {}
        self._told: set[str] = set()
        self._problems: dict[str, str] = {}
        self._looks, self._began_s = 0, time.monotonic()
        for name, one in self._wanted.items():
            if one.rare and one.type:
                self._hear(name, one.topic, one.type).hear(EVERYONE)

    def look(self) -> None:
        """Start hearing what is wanted and already published, and new publishers of what is already heard."""
        self._looks += 1
        names = {name for name, _ in self._node.get_topic_names_and_types()}
        for name in names:
            if name.startswith(self._prefix) and name not in self._wanted:
                self._wanted[name] = Wanted(name)
        for name in self._wanted.keys() & names:
            if name not in self._heard or self._looks % AGAIN_EVERY == 0:
                self._listen(name, self._wanted[name])

    def close(self) -> None:
        """Hear nothing more."""
        for one in self._heard.values():
            one.close()

    def names(self) -> dict[str, str]:
        """Return the resolved name of each wanted topic, by the name given."""
        return {one.topic: name for name, one in self._wanted.items()}

    def troubles(self) -> list[str]:
        """Return what is not as wanted, in words; nothing while it is too early to say."""
        now_s = time.monotonic()
        if now_s - self._began_s < GRACE_S:
            return []
        silent = [name for name, one in self._wanted.items() if one.needed and not self._count(name)]
        paused = [
            name
            for name, one in self._wanted.items()
            if one.steady and self._count(name) and now_s - self._heard[name].last_s > SILENT_S
        ]
        told = [f"no message on {', '.join(sorted(silent))}"] if silent else []
        told += [f"no message any more on {', '.join(sorted(paused))}"] if paused else []
        return told + [self._problems[name] for name in sorted(self._problems)]

    def unheard(self) -> list[str]:
        """Return the needed topics of which there was no message at all."""
        return sorted(name for name, one in self._wanted.items() if one.needed and not self._count(name))

    def _count(self, name: str) -> int:
        return self._heard[name].heard if name in self._heard else 0

    def _listen(self, name: str, one: Wanted) -> None:
        known = offered(self._node, one.topic, one.type)
        if known is None:
            return
        self._judge(name, one, known)
        try:
            heard = self._hear(name, one.topic, known.type)
        except MessageError:
            self._problem(name, f"{name} is not recorded: its type {known.type[:80]} is not installed here")
            return
        self._tell(name, known)
        heard.hear(known.qos)

    def _judge(self, name: str, one: Wanted, known: Offered) -> None:
        if known.others:
            self._problem(name, f"{name} is published with several types; only {known.type[:80]} is recorded")
        elif one.type and known.type != one.type:
            self._problem(name, f"{name} is {known.type[:80]}, not {one.type}")

    def _problem(self, name: str, said: str) -> None:
        if self._problems.get(name) != said:
            self._problems[name] = said
            self._node.get_logger().warning(said)

    def _hear(self, name: str, topic: str, kind: str) -> Overhearing:
        if name not in self._heard:
            self._heard[name] = Overhearing(
                self._node, message_class(kind), topic, lambda data: self._on_message(name, topic, kind, data)
            )
        return self._heard[name]

    def _on_message(self, name: str, topic: str, kind: str, data: bytes) -> None:
        if name not in self._told:
            self._tell(name, offered(self._node, topic, kind) or Offered(topic, kind, (), ""))
        self._take(name, data)

    def _tell(self, name: str, known: Offered) -> None:
        if name not in self._told:
            self._told.add(name)
            self._found(name, known)
