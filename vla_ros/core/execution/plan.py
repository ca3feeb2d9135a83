"""Executing action chunks: which position is due now, and how a newer plan takes the older one's place."""

from __future__ import annotations

from vla_ros.core.execution.blending import Blend, receding_horizon
from vla_ros.core.execution.knots import Knots
from vla_ros.core.execution.limits import Positions
from vla_ros.core.execution.smoothing import WINDOWS_NS
from vla_ros.core.types import ActionChunk


class Plan:
    """The plan in execution. Time decides which action is due: a late chunk is trimmed, an old one refused."""

    def __init__(self, blend: Blend = receding_horizon) -> None:
        self._blend = blend
        self._knots: Knots | None = None
        self._chunk: ActionChunk | None = None
        self._newest_ns: int | None = None

    @property
    def chunk(self) -> ActionChunk | None:
        """The newest chunk accepted since the last `clear()`."""
        return self._chunk

    @property
    def knots(self) -> Knots | None:
        """What is executed, with as much of its past as smoothing looks back on; None without a plan."""
        return self._knots

    @property
    def stamp_ns(self) -> int | None:
        """The stamp of the observation that the plan answers [ns]; None without a plan."""
        return None if self._chunk is None else self._chunk.stamp_ns

    def accept(self, chunk: ActionChunk, now_ns: int, last_command: Positions | None) -> str | None:
        """Execute `chunk` from now on. Return why time forbids it, which leaves the plan as it was, or None."""
        refusal = self.refusal(chunk, now_ns)
        if refusal is None:
            self.execute(chunk, now_ns, last_command)
        return refusal

    def execute(self, chunk: ActionChunk, now_ns: int, last_command: Positions | None) -> Knots:
        """Execute `chunk`, which time does not forbid, from now on. Return what is executed.

        last_command: (A,) the command sent last; motion goes on from there if no plan is in execution.
        """
        blended = self._blend(self._knots, Knots.of(chunk), now_ns, last_command, chunk.step_ns)
        self._knots = blended.after(self._knots, now_ns - WINDOWS_NS[-1])
        self._chunk, self._newest_ns = chunk, chunk.stamp_ns
        return self._knots

    def command(self, now_ns: int) -> Positions | None:
        """Return (A,) float64: the position due now, on the line between the actions around it; None without a plan."""
        if self._knots is None or now_ns > self._knots.last_ns:
            return None
        return self._knots.at(now_ns)

    def clear(self) -> None:
        """Execute nothing. Chunks as old as those executed so far stay refused."""
        self._knots = self._chunk = None

    def reset(self) -> None:
        """Execute nothing and forget all stamps: for a clock that jumped back."""
        self.clear()
        self._newest_ns = None

    def refusal(self, chunk: ActionChunk, now_ns: int) -> str | None:
        """Return why time forbids `chunk`, or None."""
        if self._newest_ns is not None and chunk.stamp_ns <= self._newest_ns:
            return "it answers an observation no newer than the plan's"
        if chunk.end_ns <= now_ns:
            return f"it is over: its last action was due {(now_ns - chunk.end_ns) / 1e6:.0f} ms ago"
        return None
