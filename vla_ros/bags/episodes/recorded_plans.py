"""What a policy and a commander published on a bag: chunks with their timing, and the commands in force."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_ros.bags.episodes.commanded import ALL, Commanded
from vla_ros.core.errors import ConfigError, MessageError
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import ActionChunk
from vla_ros.ros.convert import trajectory_to_chunk


@dataclass(frozen=True, slots=True)
class PlanTiming:
    """Of one chunk [ns]: when its observation was complete, how long inference took, when it was sent."""

    complete_ns: int
    inference_ns: int
    sent_ns: int


@dataclass(slots=True)
class RecordedPlans:
    """chunks, timings: by the stamp of the observation that a chunk answers. received: when a chunk arrived."""

    chunks: dict[int, ActionChunk] = field(default_factory=dict)
    received: dict[int, int] = field(default_factory=dict)
    timings: dict[int, PlanTiming] = field(default_factory=dict)
    commanded: Commanded | None = None

    def commands_at(self, moments: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return (T, D) commanded positions at (T,) moments, NaN where there were none."""
        assert self.commanded is not None
        found = [self.commanded.at(int(moment)) for moment in moments]
        width = self.commanded.width
        return np.stack([np.full(width, np.nan, np.float32) if row is None else row for row in found])

    def delay_ns(self, stamp_ns: int) -> int:
        """Return the time from an observation's stamp to the arrival of its chunk."""
        timing = self.timings.get(stamp_ns)
        return (timing.sent_ns if timing else self.received[stamp_ns]) - stamp_ns


def read_plans(
    messages: Iterable[tuple[str, Any, int]], robot: RobotSpec, chunk_topic: str, timing_topic: str
) -> RecordedPlans:
    """Collect plans from (topic, message, time of reception) of these topics and the command outputs."""
    try:
        commanded = Commanded(robot, "command", kept=ALL)
    except ConfigError:  # velocities: no positions to compare with
        commanded = None
    plans = RecordedPlans(commanded=commanded)
    for topic, message, now_ns in messages:
        if topic == chunk_topic:
            _take_chunk(plans, message, now_ns)
        elif topic == timing_topic:
            _take_timing(plans, {pair.key: pair.value for pair in message.values})
        elif commanded is not None:
            commanded.take(topic, message, now_ns)
    return plans


def _take_chunk(plans: RecordedPlans, message: Any, now_ns: int) -> None:
    try:
        chunk = trajectory_to_chunk(message)
    except MessageError:
        return
    plans.chunks[chunk.stamp_ns], plans.received[chunk.stamp_ns] = chunk, now_ns


def _take_timing(plans: RecordedPlans, values: dict[str, str]) -> None:
    try:
        stamp_ns = int(values["stamp_ns"])
        moments = [round(float(values[name]) * 1e6) for name in ("received_ms", "inference_ms", "published_ms")]
    except (KeyError, ValueError):
        return  # another node's
    plans.timings[stamp_ns] = PlanTiming(stamp_ns + moments[0], moments[1], stamp_ns + moments[2])
