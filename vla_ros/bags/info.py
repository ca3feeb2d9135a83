"""What a bag holds, and what to know before relying on it: rates, gaps, stamps, missing topics."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_ros.bags.contract import by_contract, contract_topics
from vla_ros.bags.naming import absolute
from vla_ros.bags.reader import CDR, Bag, BagError, decode
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import NS_PER_S


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """rate_hz, longest_gap_s: of receive times. late_ms: receive time less header stamp, p50 and p99; None without."""

    name: str
    type: str
    count: int
    rate_hz: float
    longest_gap_s: float
    late_ms: tuple[float, float] | None
    problem: str = ""


def inspect(bag: Bag) -> tuple[TopicInfo, ...]:
    """Every topic of an open bag, read once."""
    readable = [topic.name for topic in bag.topics if topic.serialization == CDR]
    received: dict[str, list[int]] = {topic.name: [] for topic in bag.topics}
    late: dict[str, list[float]] = {topic.name: [] for topic in bag.topics}
    problems = {
        topic.name: f"serialized as {topic.serialization}" for topic in bag.topics if topic.serialization != CDR
    }
    stamped: dict[str, bool] = {}
    for recorded in bag.messages(readable):
        name = recorded.topic
        received[name].append(recorded.receive_ns)
        if name not in stamped:
            stamped[name] = False
            try:
                stamped[name] = _has_header(decode(recorded))
            except BagError as error:
                problems[name] = str(error).partition(": ")[2]
        if stamped[name]:
            late[name].append((recorded.receive_ns - _stamp_ns(recorded.data)) / 1e6)
    return tuple(
        _info(topic.name, topic.type, received[topic.name], late[topic.name], problems.get(topic.name, ""))
        for topic in bag.topics
    )


def missing_topics(bag: Bag, robot: RobotSpec) -> tuple[str, ...]:
    """Topics of the contract that the bag lacks, or holds nothing of."""
    filled = {topic.name for topic in by_contract(bag, robot).topics if topic.count}
    return tuple(absolute(topic) for topic in contract_topics(robot) if topic not in filled)


def _info(name: str, kind: str, received: list[int], late: list[float], problem: str) -> TopicInfo:
    gaps = np.diff(received) / NS_PER_S if len(received) > 1 else np.zeros(1)
    rate = (len(received) - 1) / gaps.sum() if gaps.sum() > 0 else 0.0
    quantiles = (float(np.quantile(late, 0.5)), float(np.quantile(late, 0.99))) if late else None
    return TopicInfo(name, kind, len(received), float(rate), float(gaps.max()), quantiles, problem)


def _has_header(message: Any) -> bool:
    return next(iter(message.get_fields_and_field_types()), "") == "header"


def _stamp_ns(data: bytes) -> int:
    """A header comes first, and its stamp first in it: no need to decode an image for it."""
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(seconds) * NS_PER_S + int(nanoseconds)
