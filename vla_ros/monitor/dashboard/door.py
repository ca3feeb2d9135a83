"""Who may stay connected to the dashboard, and for how long: a new connection always gets in, so STOP does too.

A connection must send a whole request within `WAIT_S`, and take the answer within the same time. If there are too
many, the one that has waited longest is closed: first of the same peer, else of the peer with the most connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, cast

WAIT_S = 5.0  # for a whole request, between two requests, and for the client to take an answer
WORK_S = 10.0  # for one request, from its headers to the answer
MOST, MOST_PER_PEER = 512, 128
WANTED_FILES = 4096
ACCEPTED_AT_ONCE = 16  # in one round of the event loop
ROUNDS = 6  # from accepting a connection until the closed one has released its file descriptor
LISTEN_QUEUE = 1024  # a full queue costs a client a second, until its system retries


@dataclass(eq=False, slots=True)
class Visit:
    """One connection. since_s: when it came, or when its last request began or ended."""

    transport: asyncio.Transport
    peer: str
    since_s: float = field(default_factory=time.monotonic)
    working: bool = False

    def change(self, working: bool) -> None:
        """Note that a request has begun, or has its answer."""
        self.working, self.since_s = working, time.monotonic()

    def overdue(self, now_s: float) -> bool:
        """Return whether its time is up."""
        return now_s - self.since_s > (WORK_S if self.working else WAIT_S)


class Door:
    """Counts a server's connections, and closes those that wait too long or are too many."""

    def __init__(self, most: int = MOST, most_per_peer: int = MOST_PER_PEER) -> None:
        self._most, self._most_per_peer = most, most_per_peer
        self._visits: dict[Any, Visit] = {}

    def __len__(self) -> int:
        return len(self._visits)

    def guard(self, make: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Return a protocol factory whose connections come through this door."""
        return lambda: _Guarded(self, make())

    def enter(self, transport: asyncio.Transport) -> None:
        """Accept a connection; if there are too many, close another one."""
        visit = Visit(transport, peer_of(transport.get_extra_info("peername")))
        visits = self._visits.values()
        if len(same := [other for other in visits if other.peer == visit.peer]) >= self._most_per_peer:
            self._show_out(same)
        elif len(self._visits) >= self._most:
            [(greediest, _)] = Counter(other.peer for other in visits).most_common(1)
            self._show_out(other for other in visits if other.peer == greediest)
        self._visits[transport] = visit

    def leave(self, transport: Any) -> None:
        """Forget a connection that has ended."""
        self._visits.pop(transport, None)

    @contextlib.contextmanager
    def working(self, transport: Any) -> Iterator[None]:
        """Mark a connection as working on a whole request."""
        visit = self._visits.get(transport)
        if visit is None:
            yield  # it has gone, or did not come through a door
            return
        visit.change(True)
        try:
            yield
        finally:
            visit.change(False)

    def sweep(self) -> None:
        """Close connections whose time is up."""
        now_s = time.monotonic()
        for visit in [visit for visit in self._visits.values() if visit.overdue(now_s)]:
            self._show_out([visit])

    def _show_out(self, among: Iterable[Visit]) -> None:
        visit = min(among, key=lambda visit: (visit.working, visit.since_s))
        self.leave(visit.transport)
        visit.transport.abort()


class _Guarded(asyncio.Protocol):
    """Wraps a protocol, and tells the door when the connection opens and closes."""

    def __init__(self, door: Door, inner: asyncio.Protocol) -> None:
        self._door, self._inner = door, inner
        self._transport: asyncio.BaseTransport | None = None
        self.data_received, self.eof_received = inner.data_received, inner.eof_received  # type: ignore[method-assign]
        self.pause_writing, self.resume_writing = inner.pause_writing, inner.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._door.enter(cast(asyncio.Transport, transport))
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.leave(self._transport)
        self._inner.connection_lost(exc)


def peer_of(address: Any) -> str:
    """Return the peer: its IPv4 address, or its IPv6 /64 network, since one machine may use all of it."""
    try:
        ip = ip_address(str(address[0] if isinstance(address, tuple) else address).partition("%")[0])
    except ValueError:
        return "unknown"
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped) if ip.ipv4_mapped else f"{int(ip) >> 64:x}::/64"


def room_for_connections() -> int:
    """Raise this process's limit of open files as far as allowed; return how many connections it can hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    used = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 100
    return max(16, min(MOST, soft - used - ROUNDS * ACCEPTED_AT_ONCE - 32))


def lengthen_queue(sockets: Iterable[Any]) -> None:
    """Let more connections wait to be accepted than are accepted at once."""
    for one in sockets:
        with socket.socket(fileno=os.dup(one.fileno())) as same:
            same.listen(LISTEN_QUEUE)
