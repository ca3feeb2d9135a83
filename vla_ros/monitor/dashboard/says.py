"""Status of one robot's nodes, in bounded memory: anyone may write to `/diagnostics`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

KNOWN = (
    "bench",
    "cameras",
    "commander",
    "demo",
    "policy",
    "recorder",
    "replay",
    "scene_question",
    "sim",
    "world_model",
)
MOST_OTHERS = 16  # nodes with names that a user chose
FORGET_S = 60.0
MOST_VALUES, KEY_CHARS, MESSAGE_CHARS, STATUS_CHARS = 64, 80, 4000, 12_000


@dataclass(frozen=True, slots=True)
class Status:
    """The status of one node. level: ok, warn, error or stale."""

    level: str
    message: str
    values: Mapping[str, str]
    at_s: float


class Says:
    """The newest status of each node. Names of this package always have a place; others until it is full."""

    def __init__(self, namespace: str = "/", now_s: Callable[[], float] = time.monotonic) -> None:
        self._namespace, self._now_s = namespace, now_s
        self._lock = threading.Lock()
        self._words: dict[str, Status] = {}

    def hear(self, name: str, owner: str, level: str, message: str, values: Iterable[tuple[str, str]]) -> str | None:
        """Keep a status if it is of this package and robot; return the node's short name, or None.

        owner: its hardware_id. Nodes of this package use their full name, `package: vla_ros` and the robot as
        hardware_id; those of older versions have `vla_ros` as hardware_id, and a name without a namespace.
        """
        pairs = list(values)
        short = short_name(name, self._namespace)
        if short is None or not (owner == "vla_ros" or ("package", "vla_ros") in pairs):
            return None
        status = Status(level, message[:MESSAGE_CHARS], _bounded(pairs), self._now_s())
        with self._lock:
            self._forget()
            if short not in self._words and short not in KNOWN and self._others() >= MOST_OTHERS:
                return None
            self._words[short] = status
        return short

    def told(self) -> dict[str, dict[str, Any]]:
        """Return the status of all nodes for the page."""
        now_s = self._now_s()
        with self._lock:
            self._forget()
            words = dict(self._words)
        return {
            name: {"level": word.level, "message": word.message, "values": word.values, "age_s": now_s - word.at_s}
            for name, word in words.items()
        }

    def _others(self) -> int:
        return sum(name not in KNOWN for name in self._words)

    def _forget(self) -> None:
        limit_s = self._now_s() - FORGET_S
        for name in [name for name, word in self._words.items() if word.at_s < limit_s]:
            del self._words[name]


def short_name(name: str, namespace: str) -> str | None:
    """Return the last part of a node's name in that namespace; a name without a namespace is taken as it is."""
    if len(name) > 255 or not name:
        return None
    if not name.startswith("/"):
        return name if "/" not in name else None
    parent, _, last = name.rpartition("/")
    return last if last and (parent or "/") == namespace else None


def _bounded(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    left, kept = STATUS_CHARS, dict[str, str]()
    for key, value in list(pairs)[:MOST_VALUES]:
        kept[key[:KEY_CHARS]] = value[: min(left, MESSAGE_CHARS)]
        left -= len(kept[key[:KEY_CHARS]])
    return kept
