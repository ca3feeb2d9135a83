"""Plays a bag on an absolute schedule, so that delays do not add up."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from vla_ros.bags.reading.reader import Bag, Recorded
from vla_ros.core.types import NS_PER_S

AHEAD = 400  # messages read ahead, so that a slow disk delays none
SPIN_S = 0.0005  # typical oversleep of the operating system


@dataclass
class Lateness:
    """Lateness of the last million messages against the schedule [ms]."""

    late_ms: deque[float] = field(default_factory=lambda: deque(maxlen=1_000_000))

    def quantile_ms(self, share: float) -> float | None:
        """Return a quantile; None before the first message."""
        return float(np.quantile(self.late_ms, share)) if self.late_ms else None


class Player:
    """Sends a bag's messages when they are due; `stop` from any thread ends it.

    rate: bag time per real time. start_s: where in the bag to begin [s].
    lateness: continue counting in this one if the bag is played again.
    """

    def __init__(
        self, bag: Bag, topics: Iterable[str], rate: float = 1.0, start_s: float = 0.0, lateness: Lateness | None = None
    ) -> None:
        self._bag, self._topics, self._rate = bag, tuple(topics), rate
        self._from_ns = bag.start_ns + round(start_s * NS_PER_S)
        self._began_s: float | None = None
        self._stopped = threading.Event()
        self.lateness = lateness or Lateness()

    def now_ns(self) -> int:
        """The bag's time; its beginning before it plays."""
        if self._began_s is None:
            return self._from_ns
        return self._from_ns + round((time.monotonic() - self._began_s) * self._rate * NS_PER_S)

    @property
    def began(self) -> bool:
        """Return whether playing has started."""
        return self._began_s is not None

    def stop(self) -> None:
        """End `play` before its next message."""
        self._stopped.set()

    def play(self, send: Callable[[Recorded], None]) -> bool:
        """Play the bag once. Return False if stopped."""
        messages = self._ahead()
        first = next(messages, None)
        self._began_s = time.monotonic()
        for recorded in [] if first is None else _chain(first, messages):
            due_s = self._began_s + (recorded.receive_ns - self._from_ns) / NS_PER_S / self._rate
            if not self._wait(due_s):
                return False
            self.lateness.late_ms.append((time.monotonic() - due_s) * 1e3)
            send(recorded)
        return not self._stopped.is_set()

    def _wait(self, due_s: float) -> bool:
        left_s = due_s - time.monotonic()
        if left_s > SPIN_S and self._stopped.wait(left_s - SPIN_S):
            return False
        while time.monotonic() < due_s:
            time.sleep(0)
        return not self._stopped.is_set()

    def _ahead(self) -> Iterator[Recorded]:
        """Yield the messages, read in a thread of their own."""
        waiting: queue.Queue[Recorded | Exception | None] = queue.Queue(AHEAD)

        def read() -> None:
            end: Exception | None = None
            try:
                for recorded in self._bag.messages(self._topics, self._from_ns):
                    if not self._put(waiting, recorded):
                        return
            except Exception as error:
                end = error
            self._put(waiting, end)

        threading.Thread(target=read, name="reading", daemon=True).start()
        while (one := waiting.get()) is not None:
            if isinstance(one, Exception):
                raise one
            yield one

    def _put(self, waiting: queue.Queue[Recorded | Exception | None], one: Recorded | Exception | None) -> bool:
        while not self._stopped.is_set():
            try:
                waiting.put(one, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


def _chain(first: Recorded, others: Iterator[Recorded]) -> Iterator[Recorded]:
    yield first
    yield from others
