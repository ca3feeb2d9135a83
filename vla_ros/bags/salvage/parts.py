"""The result of salvaging a file: messages as their bag describes them, and an account of what was lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from vla_ros.bags.reading.reader import CDR


@dataclass(frozen=True, slots=True)
class DamagedTopic:
    """A topic as the damaged bag describes it. qos: YAML. definition: the text of its type, or empty."""

    topic: str
    type: str
    serialization: str = CDR
    qos: str = ""
    definition: str = ""


class Found(NamedTuple):
    """One message, and when it was received [ns]."""

    source: DamagedTopic
    receive_ns: int
    data: bytes


@dataclass(slots=True)
class Losses:
    """What could not be kept, and why.

    doubtful: messages in chunks whose checksum is wrong or that break off; they may hold anything.
    counts: everything else, in words.
    """

    doubtful: int = 0
    kept_doubtful: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, what: str, count: int = 1) -> None:
        """Count one kind of loss."""
        self.counts[what] += count

    @property
    def lines(self) -> tuple[str, ...]:
        """One line per kind of loss."""
        found = [f"{count} {what}" for what, count in sorted(self.counts.items())]
        if self.doubtful:
            fate = "kept all the same" if self.kept_doubtful else "left out; --keep-doubtful keeps them"
            found.append(f"{self.doubtful} messages in damaged chunks, which may be anything: {fate}")
        return tuple(found)
