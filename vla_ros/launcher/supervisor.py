"""Starts the processes of a launch, watches them, and brings all of them to an end."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from vla_ros.launcher.evaluation import ProcessSpec
from vla_ros.launcher.output import Screen
from vla_ros.launcher.process import ChildProcess

GRACE_S = 5.0
AGAIN_S = 0.5  # a terminal and a wrapper may both pass on one Ctrl-C; a second that is meant comes later
POLL_S = 0.02
LABEL = "launch"


class Supervisor:
    """Runs processes until all have ended, one with `on_exit: shutdown` has, or a signal says so."""

    def __init__(self, specs: Sequence[ProcessSpec], screen: Screen, grace_s: float = GRACE_S) -> None:
        self._specs = specs
        self._screen = screen
        self._grace_s = grace_s
        self._running: list[ChildProcess] = []
        self._signals: list[tuple[int, float]] = []  # and when they came [s]
        self._exit_code = 0

    def run(self) -> int:
        """Exit code: that of the first process that failed by itself, else 0."""
        with self._signals_caught():
            try:
                self._start()
                reason = self._watch()
            except BaseException:
                self._stop(signal.SIGTERM)
                raise
            self._stop(reason)
        return self._exit_code

    def _start(self) -> None:
        for spec in self._specs:
            if self._signals:
                return
            child = ChildProcess(spec, self._screen)
            self._running.append(child)
            self._screen.line(LABEL, f"{spec.label} started, pid {child.pid}")

    def _watch(self) -> int:
        """Wait until it is time to end; returns the signal to end with."""
        while self._running:
            if self._signals:
                return self._signals[0][0]
            for child in self._ended():
                if self._note_end(child):
                    return signal.SIGTERM
            time.sleep(POLL_S)
        return signal.SIGTERM

    def _note_end(self, child: ChildProcess) -> bool:
        """Record a process that ended by itself; true where the launch ends with it."""
        code = child.poll() or 0
        if code:
            self._screen.line(LABEL, f"{child.spec.label} died: exit code {code}")
            self._exit_code = self._exit_code or code
        elif not child.spec.shutdown_on_exit:
            self._screen.line(LABEL, f"{child.spec.label} ended")
        return child.spec.shutdown_on_exit

    def _stop(self, number: int) -> None:
        """Ask all to end, then insist: after the grace, or at once on a second signal."""
        for child in self._running:
            child.signal(number)
        began_s = time.monotonic()
        while self._running and time.monotonic() < began_s + self._grace_s and not self._insisted(began_s):
            self._ended()
            time.sleep(POLL_S)
        for child in self._running:
            self._screen.line(LABEL, f"{child.spec.label} did not end in time: killed")
            child.signal(signal.SIGKILL)
            child.join(1.0)

    def _insisted(self, began_s: float) -> bool:
        return any(moment_s > began_s + AGAIN_S for _, moment_s in self._signals)

    def _ended(self) -> list[ChildProcess]:
        """Take out the processes that have ended, with all that they started."""
        ended = [child for child in self._running if child.poll() is not None]
        self._running = [child for child in self._running if child not in ended]
        for child in ended:
            child.signal(signal.SIGKILL)  # what it may have left in its group
            child.join(1.0)
        return ended

    @contextmanager
    def _signals_caught(self) -> Iterator[None]:
        def note(number: int, _frame: FrameType | None) -> None:
            self._signals.append((number, time.monotonic()))

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
