"""Which observations of a stream are the frames of an even time base, and where that time base is broken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tick:
    """An observation's place. missed: ticks since the last one without an observation; None for the first of all."""

    missed: int | None


class Ticker:
    """Picks the observations that are due, `step_ns` apart, from their stamps.

    Cameras jitter, and their rate is never quite what it says: the grid follows slowly, so that neither is mistaken for
    a lost frame; a camera faster than the grid is thinned out.
    """

    def __init__(self, step_ns: int) -> None:
        if step_ns <= 0:
            raise ValueError(f"step_ns must be > 0, got {step_ns}")
        self._step_ns = step_ns
        self._due_ns: int | None = None
        self._last_ns = 0

    def reset(self) -> None:
        """Make the next observation the first of all."""
        self._due_ns = None

    def take(self, stamp_ns: int) -> Tick | None:
        """Return the tick that the observation of `stamp_ns` stands at; None if it lies between two."""
        gap_ns, self._last_ns = stamp_ns - self._last_ns, stamp_ns
        if self._due_ns is None:
            self._due_ns = stamp_ns + self._step_ns
            return Tick(None)
        if stamp_ns < self._due_ns - min(self._step_ns // 4, gap_ns // 2):  # the next one may be nearer
            return None
        missed = max(0, (stamp_ns - self._due_ns + self._step_ns // 2) // self._step_ns)
        due_ns = self._due_ns + missed * self._step_ns
        self._due_ns = due_ns + self._step_ns + (stamp_ns - due_ns) // 10
        return Tick(missed)
