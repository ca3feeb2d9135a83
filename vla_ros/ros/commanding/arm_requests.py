"""Which requests to arm are heard: none that waited through a pause or came amid a stop, none during a lock-out.

Who asked and got no answer in time was told that the robot is not armed; a commander that wakes must not arm it then.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE_S = 0.25  # a longer silence of the control loop, or of the callbacks, is a pause
AFTER_PAUSE_S = 0.5  # what waited through it has come by then
LET_GO_S = 0.3  # after a stop nobody may ask for so long: a program that arms in a loop would take the stop back


class ArmRequests:
    """Judges requests by when they come. Times are of the wall's steady clock [s]; its owner holds a lock.

    release: how a person ends a lock-out, for messages.
    """

    def __init__(self, release: str, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.locked_out = False
        self._release, self._clock_s = release, clock_s
        self._beats: dict[str, float] = {}
        self._paused_s, self._woke_s = 0.0, -AFTER_PAUSE_S
        self._asked_s, self._stopped = -LET_GO_S, False

    def beat(self, what: str) -> float:
        """Note that `what` (the control loop, or the callbacks) is at work. Return its pause before [s], or 0."""
        now_s = self._clock_s()
        pause_s = now_s - self._beats.get(what, now_s)
        self._beats[what] = now_s
        if pause_s <= PAUSE_S:
            return 0.0
        self._paused_s, self._woke_s = pause_s, now_s
        return pause_s

    def rest(self, what: str) -> None:
        """Note that `what` stops working on purpose, which is no pause."""
        self._beats.pop(what, None)

    def stopped(self) -> None:
        """Note that a stop was requested."""
        self._stopped = True

    def refusal(self) -> str | None:
        """Return why a request that comes now is refused, or None."""
        now_s = self._clock_s()
        since_s, self._asked_s = now_s - self._asked_s, now_s
        for what in tuple(self._beats):  # after a pause this request may be served before either has noticed
            pause_s = now_s - self._beats[what]
            if pause_s > PAUSE_S:
                self._paused_s, self._woke_s = pause_s, now_s
        if (barred := self.barred()) is not None:
            return barred
        if now_s - self._woke_s < AFTER_PAUSE_S:
            return f"the commander paused for {self._paused_s:.1f} s, and this request may be from before; ask again"
        if self._stopped and since_s < LET_GO_S:
            return f"requests to arm went on through a stop; ask for none for {LET_GO_S:g} s, then ask again"
        self._stopped = False
        return None

    def barred(self) -> str | None:
        """Return why nothing may arm now, not even the node itself, or None."""
        return f"locked out; release it first with {self._release}" if self.locked_out else None
