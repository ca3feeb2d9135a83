"""The dashboard's safety: STOP waits for nothing, one arm request at a time, and none after STOP until it is released.

All of it runs on the server's event loop, so no two steps overlap; blocking calls have threads of their own.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

CONFIRM_S = 0.2  # how long the answer to STOP waits for the commander's word; the stop itself is out by then
GRACE_S = 0.02  # middleware may block the request itself if the commander's process is suspended
CONFIRMED_AT_ONCE = 4
ALIVE_HZ = 5.0
WATCHED_S = 0.5  # a heartbeat of the page holds this long
SETTLE_S = 0.5  # diagnostics of a still armed robot may be on their way while STOP is
LOCKED_OUT = "locked out after STOP: make sure that the robot may move, then press Release"


class Brakes(Protocol):
    """What the dashboard needs to arm and to stop a robot."""

    def halt(self) -> None:
        """Send the stop at once; return without waiting for anybody."""

    def confirm(self, timeout_s: float) -> tuple[bool, str]:
        """Ask the commander to stop and lock out arming; return whether it confirmed, and what it says. Blocks."""

    def arm(self, cancelled: threading.Event) -> tuple[bool, str]:
        """Return whether the robot is armed now, and why not. Blocks; sends nothing once `cancelled`."""

    def release(self, cancelled: threading.Event) -> tuple[bool, str]:
        """Let the commander be armed again. Blocks; sends nothing once `cancelled`."""

    def alive(self) -> None:
        """Say that a person watches; return without waiting for anybody."""

    def armed_at_s(self) -> float | None:
        """Return when the commander last said that it is armed [monotonic]; None if it last said something else."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a button gets: whether it was done, and if not, why. refused: it was not even tried."""

    done: bool
    message: str = ""
    refused: bool = False


class _Asked:
    """A request to the commander that STOP cancels."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def settle(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def cancel(self) -> None:
        self.cancelled.set()
        self.settle(Answer(False, "cancelled by STOP", refused=True))


class Safety:
    """Arm, stop, release and watch."""

    def __init__(self, brakes: Brakes) -> None:
        self._brakes = brakes
        self._asking = ThreadPoolExecutor(1, "arm")
        self._stopping = ThreadPoolExecutor(CONFIRMED_AT_ONCE, "stop")
        self._asked: _Asked | None = None
        self._stops = self._confirming = 0
        self._stopped_s = self._beat_s = -math.inf
        self.locked_out = False

    @property
    def watched(self) -> bool:
        """Whether a page has said within `WATCHED_S` that a person is looking at it."""
        return time.monotonic() - self._beat_s < WATCHED_S

    async def stop(self) -> Answer:
        """Send the stop before anything else, cancel open requests, lock out arming; then wait for confirmation."""
        self._stops += 1
        self.locked_out, self._stopped_s = True, time.monotonic()
        if self._asked is not None:
            self._asked.cancel()
        self._brakes.halt()
        if self._confirming >= CONFIRMED_AT_ONCE:
            return Answer(True, "STOP was sent")  # as was that of calls still waiting for confirmation
        self._confirming += 1
        confirming = asyncio.ensure_future(_in_thread(self._stopping, partial(self._brakes.confirm, CONFIRM_S)))
        confirming.add_done_callback(self._confirmed)
        done, _ = await asyncio.wait([confirming], timeout=CONFIRM_S + GRACE_S)
        return Answer(*confirming.result()) if done else Answer(False, "STOP was sent; nobody has confirmed it yet")

    async def arm(self) -> Answer:
        """Arm, unless locked out or already requested."""
        if self.locked_out:
            return Answer(False, LOCKED_OUT, refused=True)
        return await self._ask(self._brakes.arm)

    async def release(self) -> Answer:
        """End the lock-out, unless STOP comes meanwhile."""
        stops = self._stops
        answer = await self._ask(self._brakes.release)
        if not answer.refused and stops == self._stops:
            self.locked_out = False
        return answer

    def beat(self) -> None:
        """Note that a person watches."""
        self._beat_s = time.monotonic()

    async def keep(self) -> None:
        """Pass on that a person watches, and enforce the lock-out against anyone who arms the robot another way."""
        while True:
            if self.watched:
                self._brakes.alive()
            armed_s = self._brakes.armed_at_s() if self.locked_out else None
            if armed_s is not None and armed_s > self._stopped_s + SETTLE_S:
                self._brakes.halt()
            await asyncio.sleep(1 / ALIVE_HZ)

    def close(self) -> None:
        """Begin nothing more."""
        for pool in (self._asking, self._stopping):
            pool.shutdown(wait=False, cancel_futures=True)

    def _confirmed(self, _: asyncio.Future[tuple[bool, str]]) -> None:
        self._confirming -= 1

    async def _ask(self, call: Callable[[threading.Event], tuple[bool, str]]) -> Answer:
        if self._asked is not None:
            return Answer(False, "another request to arm or to release is under way", refused=True)
        asked = self._asked = _Asked()
        running = asyncio.ensure_future(_in_thread(self._asking, partial(call, asked.cancelled)))
        running.add_done_callback(partial(self._came, asked))
        return await asyncio.shield(asked.answer)  # a client that leaves does not cancel it

    def _came(self, asked: _Asked, running: asyncio.Future[tuple[bool, str]]) -> None:
        self._asked = None
        done, message = running.result() if not running.cancelled() else (False, "the dashboard is closing")
        if done and asked.cancelled.is_set():
            self._brakes.halt()  # STOP came between the request and its answer
        asked.settle(Answer(done, message))


async def _in_thread(pool: ThreadPoolExecutor, call: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
    return await asyncio.get_running_loop().run_in_executor(pool, call)
