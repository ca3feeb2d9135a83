"""What a world model is asked next: the newest chunk from the observation that it answers, or what comes anyway."""

from __future__ import annotations

import threading

from vla_ros.core.surprise.expectation import Expectation, Recent
from vla_ros.core.types import NS_PER_S, ActionChunk, Observation

FORWARD, VIDEO = "forward", "video"
MODES = (FORWARD, VIDEO)
CHUNK_MAX_AGE_S = 1.0  # an older plan is not what the robot does now
Question = tuple[Observation, ActionChunk | None]


class Imagination:
    """The newest chunk, and the last expectation. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunk: ActionChunk | None = None
        self.last: Expectation | None = None

    def plan(self, chunk: ActionChunk | None) -> None:
        """Note the chunk that the robot follows from now on; None if it is unknown."""
        with self._lock:
            self._chunk = chunk

    def question(self, mode: str, recent: Recent, now_ns: int) -> Question | None:
        """Return what to imagine from, and of which chunk; None if there is nothing new."""
        newest = recent.newest
        if newest is None or not newest.instruction:
            return None
        if mode == VIDEO:
            return newest, None
        with self._lock:
            chunk = self._chunk
        if chunk is None or now_ns - chunk.stamp_ns > CHUNK_MAX_AGE_S * NS_PER_S:
            return None
        seen = recent.at(chunk.stamp_ns)
        same = self.last is not None and self.last.chunk is chunk
        return None if seen is None or not seen.instruction or same else (seen, chunk)
