"""How a new chunk takes over from the plan in execution. One function a mode, all of the type `Blend`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.execution.knots import Knots, distinct
from vla_ros.core.execution.limits import Positions

Moments = NDArray[np.int64]

Blend = Callable[[Knots | None, Knots, int, Positions | None, int], Knots]
"""(old, new, now_ns, last_command (A,), step_ns) -> the knots to execute; the first of them is due at `now_ns`.

old: what is in execution; None where nothing is. new: the chunk, late actions included.
"""

FADE_NS = 300_000_000  # three steps of a policy at 10 Hz: as long as most delays


def receding_horizon(old: Knots | None, new: Knots, now_ns: int, last_command: Positions | None, step_ns: int) -> Knots:
    """Take the new chunk from now on, reached within one step.

    What the new chunk would change at its first due moment fades in from `now_ns` on, so that commands are continuous,
    equal chunks change nothing, and the robot reacts before the first action is due.
    """
    switch_ns = max(now_ns, new.first_ns)
    faded_ns = max(now_ns + step_ns, switch_ns)
    lead = _lead(old, new, now_ns, last_command)
    change = (new.all_at(_moments(switch_ns)) - lead(_moments(switch_ns)))[0]

    def faded(times: Moments) -> Positions:
        share: Positions = np.minimum((times - now_ns) / (faded_ns - now_ns), 1.0)[:, None]
        return share

    before = _moments(now_ns, *(old.between(now_ns, switch_ns) if old else [])) if switch_ns > now_ns else _moments()
    after = distinct(np.concatenate([new.between(switch_ns), _moments(switch_ns, faded_ns)]))
    values = [lead(before) + change * faded(before), new.all_at(after) - change * (1 - faded(after))]
    return Knots(np.concatenate([before, after]), np.concatenate(values))


def real_time_chunking(
    old: Knots | None, new: Knots, now_ns: int, last_command: Positions | None, step_ns: int
) -> Knots:
    """Take the new chunk as it is: it was inferred as the plan's continuation (core/planning/continuation.py).

    Its first actions are the plan's, so that there is nothing to change at the switch. Where there is, after a delay
    beyond the frozen steps or from standstill, it is faded in as in the receding horizon.
    """
    return receding_horizon(old, new, now_ns, last_command, step_ns)


def cross_fade(
    old: Knots | None, new: Knots, now_ns: int, last_command: Positions | None, step_ns: int, fade_ns: int = FADE_NS
) -> Knots:
    """Fade linearly from the old plan to the new one, over `fade_ns` or for as long as both last.

    Where the old one does not last for another step, there is nothing to fade from: it ends as the receding horizon.
    """
    switch_ns = max(now_ns, new.first_ns)
    faded_ns = min(switch_ns + fade_ns, new.last_ns, old.last_ns if old else 0)
    if old is None or faded_ns < switch_ns + step_ns:
        return receding_horizon(old, new, now_ns, last_command, step_ns)
    times = [now_ns, switch_ns, faded_ns, *old.between(now_ns, faded_ns), *new.between(switch_ns)]
    moments = distinct(_moments(*times))
    weight = np.clip((moments - switch_ns) / (faded_ns - switch_ns), 0.0, 1.0)[:, None]
    return Knots(moments, old.all_at(moments) * (1 - weight) + new.all_at(moments) * weight)


def switch(old: Knots | None, new: Knots, now_ns: int, last_command: Positions | None, step_ns: int) -> Knots:
    """Take the new chunk at once, however far it is from the old one: the baseline of the other modes."""
    times = np.append(now_ns, new.between(now_ns))
    values = new.all_at(times)
    if now_ns < new.first_ns:
        values[0] = _lead(old, new, now_ns, last_command)(times[:1])[0]
    return Knots(times, values)


def _lead(old: Knots | None, new: Knots, now_ns: int, last_command: Positions | None) -> Callable[[Moments], Positions]:
    """Return what would be sent without the new chunk at (T,) moments, (T, A): the old plan, or standing still."""
    if old is not None and old.covers(now_ns):
        return old.all_at
    still = new.at(now_ns) if last_command is None else np.asarray(last_command, dtype=np.float64)
    return lambda times: np.repeat(still[None], len(times), axis=0)


def _moments(*times_ns: int) -> Moments:
    return np.array(times_ns, dtype=np.int64)
