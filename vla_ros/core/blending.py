"""How a new chunk takes over from the plan in execution. One function a mode, all of the type `Blend`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vla_ros.core.knots import Knots
from vla_ros.core.limits import Positions

Blend = Callable[[Knots | None, Knots, int, Positions | None, int], Knots]
"""(old, new, now_ns, last_command (A,), step_ns) -> the knots to execute from `now_ns` on.

old: what is in execution; None where nothing is. new: the chunk, late actions included.
"""


def receding_horizon(old: Knots | None, new: Knots, now_ns: int, last_command: Positions | None, step_ns: int) -> Knots:
    """The new chunk from now on, reached within one step.

    What the new chunk would change at its first due moment fades in from `now_ns` on, so that commands are continuous,
    equal chunks change nothing, and the robot reacts before the first action is due.
    """
    switch_ns = max(now_ns, new.first_ns)
    faded_ns = max(now_ns + step_ns, switch_ns)
    lead = _lead(old, new, now_ns, last_command)
    change = new.at(switch_ns) - lead(switch_ns)

    def faded(t: int) -> float:
        return min((t - now_ns) / (faded_ns - now_ns), 1.0)

    before = [now_ns, *(old.between(now_ns, switch_ns) if old else [])] if switch_ns > now_ns else []
    after = np.union1d(new.between(switch_ns), [switch_ns, faded_ns])
    values = [lead(int(t)) + change * faded(int(t)) for t in before]
    values += [new.at(int(t)) - change * (1 - faded(int(t))) for t in after]
    return Knots(np.array([*before, *after], dtype=np.int64), np.array(values))


def _lead(old: Knots | None, new: Knots, now_ns: int, last_command: Positions | None) -> Callable[[int], Positions]:
    """What would be sent without the new chunk: the old plan, or standing still."""
    if old is not None and old.covers(now_ns):
        return old.at
    still = new.at(now_ns) if last_command is None else np.asarray(last_command, dtype=np.float64)
    return lambda t: still
