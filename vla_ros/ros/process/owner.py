"""One owner for what a node makes: whatever it is, it is given back in one call, the newest first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

from rclpy.client import Client
from rclpy.clock import JumpHandle
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer

T = TypeVar("T")


@runtime_checkable
class Closes(Protocol):
    """Ends with `close()`."""

    close: Callable[[], Any]


class Owner:
    """Keep publishers, subscriptions, services, clients, timers, jump handles, things with a `close`, and callables."""

    def __init__(self, node: Node) -> None:
        self._things: list[Any] = []
        self._removal: tuple[tuple[Any, Callable[[Any], object]], ...] = (
            (Publisher, node.destroy_publisher),
            (Subscription, node.destroy_subscription),
            (Service, node.destroy_service),
            (Client, node.destroy_client),
            (Timer, node.destroy_timer),
            (JumpHandle, JumpHandle.unregister),
            (Closes, lambda thing: thing.close()),
            (Callable, lambda thing: thing()),
        )

    def own(self, thing: T) -> T:
        """Keep `thing` until `close`, and return it. Raises TypeError if nobody would know how to remove it."""
        if not isinstance(thing, tuple(kind for kind, _ in self._removal)):
            raise TypeError(f"{thing!r} cannot be owned: it has no close() and is no callable")
        self._things.append(thing)
        return thing

    def close(self) -> None:
        """Remove everything, the newest first; what is owned later is kept until the next call."""
        while self._things:
            thing = self._things.pop()
            next(remove for kind, remove in self._removal if isinstance(thing, kind))(thing)
