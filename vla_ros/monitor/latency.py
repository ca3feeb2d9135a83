"""The time from camera stamp to command, joined from the policy's and the commander's timing of each chunk."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, slots=True)
class ChunkLatency:
    """One chunk that reached the robot, by the stamp of its observation [ns]; times in ms, NaN if unknown.

    wait_ms: from the last input's arrival to the start of inference.
    inference_ms: in the network.
    choice_ms: drawing further candidates, imagining and scoring them; 0 if that is off.
    first_command_ms: from the camera's stamp to the first command of the chunk, in total.
    received_ms, published_ms, chunk_ms: from the camera's stamp until all inputs were there, decoded; until the chunk
        was sent; until the commander had it.
    decode_ms: of the last image, from the message to the array.
    """

    stamp_ns: int
    wait_ms: float
    inference_ms: float
    first_command_ms: float
    received_ms: float = math.nan
    decode_ms: float = math.nan
    published_ms: float = math.nan
    chunk_ms: float = math.nan
    choice_ms: float = 0.0

    @property
    def transport_ms(self) -> float:
        """The time from camera to command without inference and choice: messages, conversion, scheduling, waiting."""
        return self.first_command_ms - self.inference_ms - self.choice_ms

    @property
    def stages_ms(self) -> dict[str, float]:
        """The time by stage; the stages add up to `first_command_ms`."""
        return {
            "camera to policy": self.received_ms - self.decode_ms,
            "decode": self.decode_ms,
            "wait": self.wait_ms,
            "inference": self.inference_ms,
            **({"imagine and choose": self.choice_ms} if self.choice_ms else {}),
            "publish": self.published_ms - self.received_ms - self.wait_ms - self.inference_ms - self.choice_ms,
            "policy to commander": self.chunk_ms - self.published_ms,
            "first command": self.first_command_ms - self.chunk_ms,
        }


TIMES = frozenset(field.name for field in fields(ChunkLatency)) - {"stamp_ns"}


@dataclass(frozen=True, slots=True)
class Percentiles:
    """p50 and p99 [ms] over `count` values; None without values."""

    p50: float | None
    p99: float | None
    count: int


class TimingLog:
    """Collects both halves of each chunk's timing and joins them by stamp. Bounded, oldest out first; thread-safe."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._policy: dict[int, Mapping[str, float]] = {}
        self._commander: dict[int, Mapping[str, float]] = {}

    @property
    def newest_stamp_ns(self) -> int:
        """The newest observation that the policy has answered [ns]; 0 before the first."""
        with self._lock:
            return max(self._policy, default=0)

    def add_policy(self, values: Mapping[str, str]) -> None:
        """Take one /policy/timing."""
        with self._lock:
            self._add(self._policy, values)

    def add_commander(self, values: Mapping[str, str]) -> None:
        """Take one /commander/timing."""
        with self._lock:
            self._add(self._commander, values)

    def take(self) -> tuple[ChunkLatency, ...]:
        """Return and forget all chunks with both halves, oldest first."""
        with self._lock:
            policy, self._policy = self._policy, {}
            commander, self._commander = self._commander, {}
        return tuple(_joined(stamp_ns, policy, commander) for stamp_ns in sorted(policy.keys() & commander.keys()))

    def _add(self, half: dict[int, Mapping[str, float]], values: Mapping[str, str]) -> None:
        try:
            stamp_ns = int(values["stamp_ns"])
            half[stamp_ns] = {key: float(value) for key, value in values.items() if key in TIMES}
        except (KeyError, ValueError):
            return  # a malformed message must not end the demo
        while len(half) > self._limit:
            del half[min(half)]


def _joined(
    stamp_ns: int, policy: Mapping[int, Mapping[str, float]], commander: Mapping[int, Mapping[str, float]]
) -> ChunkLatency:
    known = {**policy[stamp_ns], **commander[stamp_ns]}
    names = (field.name for field in fields(ChunkLatency) if field.name != "stamp_ns")
    unknown = {"choice_ms": 0.0}  # a policy that does not choose omits it
    return ChunkLatency(stamp_ns, **{name: known.get(name, unknown.get(name, math.nan)) for name in names})


def percentiles(values: Iterable[float]) -> Percentiles:
    """Return p50 and p99 of the finite values."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return Percentiles(None, None, 0)
    p50, p99 = np.percentile(finite, [50, 99])
    return Percentiles(round(float(p50), 2), round(float(p99), 2), len(finite))
