"""A bounded log of events with times, and the outcomes of episodes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

MOST_EVENTS, EVENT_CHARS = 40, 300
BAD = ("warn", "error", "stale")


class Events:
    """Changes of node status, newest last."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        self._levels: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()

    def hear(self, node: str, level: str, message: str, mode: str = "") -> None:
        """Take a node's status; log it if its level or mode changed."""
        with self._lock:
            before = self._levels.get(node, ("ok", mode))
            if (level, mode) == before:
                return
            self._levels[node] = level, mode
            if len(self._levels) > MOST_EVENTS:
                del self._levels[next(iter(self._levels))]
            if level in BAD or before[0] in BAD:
                self._add(level, f"{node}: {message}")

    def add(self, level: str, text: str) -> None:
        """Log something."""
        with self._lock:
            self._add(level, text)

    def told(self) -> list[dict[str, Any]]:
        """Return the events for the page: time (seconds since 1970), level and text."""
        with self._lock:
            return list(self._events)

    def _add(self, level: str, text: str) -> None:
        self._events.append({"at_s": self._now_s(), "level": level, "text": text[:EVENT_CHARS]})


class Episodes:
    """The running episode, how the last one ended, and how many did."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._began_s: float | None = None
        self._last: bool | None = None
        self._ended = self._succeeded = self._failed = 0

    def mark(self, event: str, success: bool | None) -> None:
        """Note that an episode begins ("start") or ends ("end"); success may be unknown (None)."""
        if event == "start":
            self._began_s = self._now_s()
            return
        if self._began_s is None:
            return  # it began before this dashboard started
        self._began_s, self._last = None, success
        self._ended += 1
        self._succeeded += success is True
        self._failed += success is False

    def told(self) -> dict[str, Any]:
        """Return the figures for the page."""
        running_s = None if self._began_s is None else self._now_s() - self._began_s
        return {
            "running_s": running_s,
            "ended": self._ended,
            "last": self._last,
            "succeeded": self._succeeded,
            "failed": self._failed,
        }
