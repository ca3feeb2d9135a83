"""Counts where and why episodes were cut. Nothing is cut silently."""

from __future__ import annotations

from collections import Counter

from vla_ros.bags.episodes.marks import OPEN_NS, Span
from vla_ros.core.types import NS_PER_S

TOLD = 20  # cuts reported one by one; all are counted


class Cuts:
    """counted: by reason. told: the first cuts of marked episodes, in words; times count from `start_ns`."""

    def __init__(self, start_ns: int = 0) -> None:
        self.counted: Counter[str] = Counter()
        self.told: list[str] = []
        self._start_ns = start_ns
        self._broken: tuple[Span | None, str, int] | None = None

    def broke(self, span: Span | None, why: str, at_ns: int) -> None:
        """Note that a piece ended at a stamp. It is a cut only if the same episode continues."""
        self._broken = (span, why, at_ns)

    def border(self) -> None:
        """Note an intended border: another episode follows."""
        self._broken = None

    def goes_on(self, span: Span | None) -> None:
        """Note a frame of an episode."""
        broken, self._broken = self._broken, None
        if broken is None or broken[0] is not span:
            return
        self.counted[broken[1]] += 1
        if span is not None and len(self.told) < TOLD:
            since, until, at = (self._seconds(ns) for ns in (span.start_ns, span.end_ns, broken[2]))
            self.told.append(f"the episode marked from {since} to {until} was cut at {at}: {broken[1]}")

    def _seconds(self, moment_ns: int) -> str:
        return f"{(moment_ns - self._start_ns) / NS_PER_S:.2f} s" if moment_ns < OPEN_NS else "the end"
