"""Latency from camera to robot by stage, as text for a terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from vla_ros.monitor.latency import ChunkLatency, Percentiles, percentiles

TOTAL, WITHOUT_INFERENCE = "camera to command", "the same without inference"


class StageLog:
    """The stages of the latest `limit` chunks."""

    def __init__(self, limit: int = 512) -> None:
        self._chunks: deque[ChunkLatency] = deque(maxlen=limit)

    def add(self, chunks: Iterable[ChunkLatency]) -> None:
        """Take chunks that reached the robot."""
        self._chunks.extend(chunks)

    def stages(self) -> dict[str, Percentiles]:
        """Return percentiles of every stage [ms], then of the total."""
        rows = [chunk.stages_ms for chunk in self._chunks]
        names = max(rows, key=len, default={})  # rows lack a stage that is off
        found = {name: percentiles(row.get(name, 0.0) for row in rows) for name in names}
        return found | {
            TOTAL: percentiles(chunk.first_command_ms for chunk in self._chunks),
            WITHOUT_INFERENCE: percentiles(chunk.transport_ms for chunk in self._chunks),
        }


def stage_table(stages: Mapping[str, Percentiles], says: Mapping[str, str]) -> str:
    """Return the stages, and what each node says of itself, as text."""
    count = max((row.count for row in stages.values()), default=0)
    lines = [f"{f'last {count} chunks':<28}{'p50 ms':>9}{'p99 ms':>9}"]
    lines += [f"{name:<28}{_cell(row.p50)}{_cell(row.p99)}" for name, row in stages.items()]
    return "\n".join([*lines, "", *(f"{name:<14}{text}" for name, text in sorted(says.items()))])


def as_data(stages: Mapping[str, Percentiles], says: Mapping[str, str]) -> dict[str, object]:
    """Return the same as plain data."""
    return {"stages_ms": {name: asdict(row) for name, row in stages.items()}, "nodes": dict(says)}


def _cell(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:>9.2f}"
