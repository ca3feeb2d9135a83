"""Collects what a bag holds for each input of a policy, to explain why it has no episode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from vla_ros.core.types import NS_PER_S
from vla_ros.ros.convert import to_ns
from vla_ros.ros.ingest import INSTRUCTION, JOINT_STATES, Source

NAMES, SHOWN = 1000, 20  # joint names to remember and report
OTHER_CLOCK_S = 3600.0  # stamps this far from the time of reception come from another clock


@dataclass(slots=True)
class InputEvidence:
    """One input: messages seen, taken, refused (and why the last one was), and unstamped.

    late_ns: shortest and longest time from a message's stamp to its reception [ns]. names: joints over all messages;
    whole: messages that held all of the contract's joints.
    """

    source: Source
    seen: int = 0
    taken: int = 0
    refused: int = 0
    error: str = ""
    unstamped: int = 0
    late_ns: tuple[int, int] | None = None
    joints: frozenset[str] = frozenset()
    names: set[str] = field(default_factory=set)
    whole: int = 0

    def take(self, message: Any, now_ns: int, taken: bool, error: str) -> None:
        """Count a message: whether it was taken, and the refusal if there was one."""
        self.seen += 1
        if error:
            self.refused, self.error = self.refused + 1, error
        if self.source.name == INSTRUCTION:
            self.taken += not error  # a repeated sentence is valid, though not new
            return
        self.taken += taken
        if self.source.name == JOINT_STATES:
            self._count_joints(message.name[:NAMES])
        stamp_ns = to_ns(message.header.stamp)
        self.unstamped += stamp_ns == 0
        late_ns = now_ns - stamp_ns
        least, most = self.late_ns or (late_ns, late_ns)
        self.late_ns = min(least, late_ns), max(most, late_ns)

    def _count_joints(self, names: list[str]) -> None:
        self.whole += self.joints.issubset(names)
        if len(self.names) < NAMES:
            self.names.update(names)

    def untaken(self) -> str:
        """Return why no message was taken."""
        topic = self.source.topic
        if self.source.name == JOINT_STATES and not self.whole:
            lacking = sorted(self.joints - self.names)
            held = ", ".join(sorted(self.names)[:SHOWN]) or "none"
            if lacking:
                return f"{topic} never holds the joints {', '.join(lacking)}; it holds {held}"
            return (
                f"joint states come in parts: no message on {topic} holds all joints of the contract, though together "
                f"they do ({held}); this is not supported yet"
            )
        hint = "; --task 'SENTENCE' replaces it" if self.source.name == INSTRUCTION else ""
        return f"{self.refused} of {self.seen} messages on {topic} were refused: {self.error or 'old stamps'}{hint}"


class Evidence:
    """Collects what arrived; `reason` explains why there was no observation."""

    def __init__(self, sources: Iterable[Source], joints: tuple[str, ...], max_age_s: float) -> None:
        self.streams = {source.topic: InputEvidence(source, joints=frozenset(joints)) for source in sources}
        self._max_age_s = max_age_s

    def counts(self) -> Counter[str]:
        """Refused messages by topic, with the reason of the last one."""
        return Counter({f"messages on {s.source.topic} refused: {s.error}": s.refused for s in self._all if s.refused})

    def reason(self, sim_time: bool, clock_on_bag: bool) -> str:
        """Return why there was no observation at all; empty if these inputs do not explain it."""
        for stream in self._all:
            if stream.seen and not stream.taken:
                return stream.untaken()
        return self._absent() or self._unstamped() or self._old(sim_time, clock_on_bag)

    @property
    def _all(self) -> tuple[InputEvidence, ...]:
        return tuple(self.streams.values())

    def _absent(self) -> str:
        missing = [stream.source for stream in self._all if not stream.seen]
        hint = "; --task 'SENTENCE' gives one" if any(source.name == INSTRUCTION for source in missing) else ""
        return f"no message on {', '.join(source.topic for source in missing)}{hint}" if missing else ""

    def _unstamped(self) -> str:
        bare = [stream for stream in self._all if stream.unstamped and stream.unstamped * 2 > stream.seen]
        told = (f"{s.unstamped} of {s.seen} messages on {s.source.topic}" for s in bare)
        return f"messages bear no stamp (header.stamp is 0): {', '.join(told)}" if bare else ""

    def _old(self, sim_time: bool, clock_on_bag: bool) -> str:
        for stream in self._all:
            if stream.late_ns is None or (least_s := stream.late_ns[0] / NS_PER_S) <= self._max_age_s:
                continue
            hint = "are the clocks of its machines synchronised?"
            if clock_on_bag and not sim_time:
                hint = "the bag has /clock: --sim-time takes its time"
            elif least_s > OTHER_CLOCK_S and not sim_time:
                hint = "they are of another clock, perhaps a simulator's, and no /clock is on the bag"
            return (
                f"stamps on {stream.source.topic} are {least_s:.3f} s or more older than their reception "
                f"(limit sync.max_age_s {self._max_age_s:g} s); {hint}"
            )
        return ""
