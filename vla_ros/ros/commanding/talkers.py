"""Who says what on a topic that several publish on, told from the messages themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

ALIVE_S = 1.5  # who said nothing for so long has gone
GAP = 2000  # messages of one writer that may be lost between two


@dataclass(slots=True)
class _Writer:
    """One writer: who it is where the middleware says so, its newest number, and when it last said each key [s]."""

    gid: bytes | None
    number: int
    said_s: dict[str, float] = field(default_factory=dict)


class Talkers:
    """The writers of one topic, by the keys (such as joints) that their messages name.

    The middleware's info tells writers apart: by the publisher's id where it gives that (from Kilted on), else by the
    numbers that each writer counts. Where it gives neither, all count as one.
    """

    def __init__(self) -> None:
        self._writers: list[_Writer] = []

    def heard(self, info: Mapping[str, Any], keys: Iterable[str], now_s: float) -> None:
        """Note a message that names `keys`."""
        said = tuple(keys)
        if not said:
            return
        writer = self._writer(_gid(info), _number(info), said)
        for key in said:
            writer.said_s[key] = now_s
        self._writers = [one for one in self._writers if max(one.said_s.values()) > now_s - ALIVE_S]

    def doubled(self, now_s: float) -> str | None:
        """Return the first key that two or more writers name, or None."""
        once: set[str] = set()
        for writer in self._writers:
            alive = {key for key, at_s in writer.said_s.items() if at_s > now_s - ALIVE_S}
            if twice := once & alive:
                return min(twice)
            once |= alive
        return None

    def _writer(self, gid: bytes | None, number: int, keys: tuple[str, ...]) -> _Writer:
        found = [one for one in self._writers if _same(one, gid, number, keys)]
        if not found:
            self._writers.append(_Writer(gid, number))
            return self._writers[-1]
        writer = max(found, key=lambda one: one.number)
        writer.number = number
        return writer


def _same(writer: _Writer, gid: bytes | None, number: int, keys: tuple[str, ...]) -> bool:
    if gid is not None:
        return writer.gid == gid
    return (number < 0 or 0 < number - writer.number <= GAP) and writer.said_s.keys() == set(keys)


def _gid(info: Mapping[str, Any]) -> bytes | None:
    gid = info.get("publisher_gid")
    return bytes(gid["data"]) if gid else None


def _number(info: Mapping[str, Any]) -> int:
    number = info.get("publication_sequence_number")
    return -1 if number is None or number >= 2**63 else int(number)
