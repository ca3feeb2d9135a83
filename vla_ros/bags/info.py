"""Contents and quality of a bag: rates, gaps, stamps, missing topics."""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass

import numpy as np

from vla_ros.bags.contract_topics import by_contract, contract_topics
from vla_ros.bags.naming import absolute
from vla_ros.bags.reading.reader import CDR, Bag, BagError, Recorded, Topic, decode, split_topics
from vla_ros.core.printable import printable
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import NS_PER_S


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """rate_hz, longest_gap_s: of receive times. late_ms: receive time less header stamp, p50 and p99, if known."""

    name: str
    type: str
    count: int
    rate_hz: float
    longest_gap_s: float
    late_ms: tuple[float, float] | None
    problem: str = ""


def inspect(bag: Bag) -> tuple[TopicInfo, ...]:
    """Return the figures of every topic of an open bag, which is read once."""
    seen = {(topic.name, topic.type): _Seen(_first_problem(bag, topic)) for topic in bag.topics}
    for recorded in bag.messages({topic.name for topic in bag.topics} - _unreadable(bag)):
        seen[recorded.topic, recorded.type].add(recorded)
    return tuple(seen[topic.name, topic.type].info(topic) for topic in bag.topics)


class _Seen:
    """Running figures of one topic and type."""

    def __init__(self, problem: str) -> None:
        self._problem = problem
        self._received, self._late_ms = array("q"), array("d")  # not lists: a bag may hold millions
        self._stamped: bool | None = None

    def add(self, recorded: Recorded) -> None:
        """Take one more message."""
        self._received.append(recorded.receive_ns)
        if self._stamped is None:
            self._stamped = self._has_header(recorded)
        if self._stamped:
            try:
                self._late_ms.append((recorded.receive_ns - _stamp_ns(recorded.data)) / 1e6)
            except (struct.error, IndexError):
                self._problem = self._problem or "a message is too short for its header"

    def _has_header(self, recorded: Recorded) -> bool:
        try:
            return next(iter(decode(recorded).get_fields_and_field_types()), "") == "header"
        except BagError as error:
            self._problem = self._problem or str(error).partition(": ")[2]
            return False

    def info(self, topic: Topic) -> TopicInfo:
        """Return the topic's figures."""
        gaps = np.diff(np.array(self._received)) / NS_PER_S if len(self._received) > 1 else np.zeros(1)
        rate = (len(self._received) - 1) / gaps.sum() if gaps.sum() > 0 else 0.0
        p50, p99 = (float(np.quantile(self._late_ms or [0.0], share)) for share in (0.5, 0.99))
        late = (p50, p99) if self._late_ms else None
        count, gap_s = len(self._received), float(gaps.max())
        return TopicInfo(topic.name, topic.type, count, float(rate), gap_s, late, self._problem)


def _unreadable(bag: Bag) -> set[str]:
    return {topic.name for topic in bag.topics if topic.serialization != CDR}


def _first_problem(bag: Bag, topic: Topic) -> str:
    if topic.serialization != CDR:
        return f"serialized as '{printable(topic.serialization, 40)}'; only '{CDR}' can be read"
    others = split_topics(bag.topics).get(topic.name, ())
    return f"the topic has {len(others)} types" if others else ""


def missing_topics(bag: Bag, robot: RobotSpec) -> tuple[str, ...]:
    """Return topics of the contract that the bag lacks, or that are empty."""
    filled = {topic.name for topic in by_contract(bag, robot).topics if topic.count}
    return tuple(absolute(topic) for topic in contract_topics(robot) if topic not in filled)


def _stamp_ns(data: bytes) -> int:
    """Return the stamp, the first field of a header, which comes first: no need to decode an image for it."""
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(seconds) * NS_PER_S + int(nanoseconds)
