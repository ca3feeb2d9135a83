"""When to ask for the next chunk: often enough to see the world anew, early enough that the plan never runs dry."""

from __future__ import annotations

import math

from vla_ros.core.timing import LatencyStats


def next_due_ns(last_ns: int, execute_ns: int, lasts_ns: int, delay_ns: int) -> int:
    """Return the stamp from which on an observation should be inferred, given `last_ns`, the last inferred one's.

    execute_ns: how long a chunk should be executed; normally the next observation is that much later.
    lasts_ns: how long after its stamp a chunk is good for. A chunk inferred at stamp s arrives at s + delay,
        so a long delay brings the moment forward.
    """
    return last_ns + max(min(execute_ns, lasts_ns - delay_ns), 0)


class ReplanClock:
    """Decides, for each new observation, whether it should be inferred. One owner, no clock of its own.

    execute_steps, horizon, step_ns: of the policy's contract.
    plan_timeout_ns: the guard's; a plan is replaced before the guard calls it stale.
    """

    def __init__(self, execute_steps: int, horizon: int, step_ns: int, plan_timeout_ns: int | None = None) -> None:
        if not 1 <= execute_steps <= horizon:
            raise ValueError(f"execute_steps must be 1 to the horizon, {horizon}, got {execute_steps}")
        self._slack_ns, self._execute_ns = step_ns // 4, execute_steps * step_ns
        ends_ns = horizon * step_ns if plan_timeout_ns is None else min(horizon * step_ns, plan_timeout_ns)
        self._lasts_ns = ends_ns - step_ns  # one step in reserve
        self._delays = LatencyStats(window=32)
        self._last_ns: int | None = None

    @property
    def delay_ns(self) -> int:
        """The delay to plan for, stamp to chunk sent [ns]: the 90th percentile of the last ones; 0 before the first."""
        delay_ms = self._delays.quantile_ms(0.9)
        return 0 if math.isnan(delay_ms) else round(delay_ms * 1e6)

    def is_due(self, stamp_ns: int) -> bool:
        """Return whether the observation of `stamp_ns` should be inferred. Stamps may jitter by a quarter of a step."""
        if self._last_ns is None:
            return True
        if stamp_ns <= self._last_ns:
            return False
        due_ns = next_due_ns(self._last_ns, self._execute_ns, self._lasts_ns, self.delay_ns)
        return stamp_ns >= due_ns - self._slack_ns

    def planned(self, stamp_ns: int, sent_ns: int) -> None:
        """Note that a chunk answering the observation of `stamp_ns` was sent at `sent_ns`."""
        self._last_ns = stamp_ns
        self._delays.add_ns(max(sent_ns - stamp_ns, 0))

    def reset(self) -> None:
        """Make the next observation due (new episode, clock jumped back). Measured delays stay."""
        self._last_ns = None

    def forget_delays(self) -> None:
        """Measure anew: if delays forbid inference, no later one would ever show that it has become faster."""
        self._delays.clear()
