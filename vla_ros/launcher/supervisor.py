"""Starts the processes of a launch, watches them, and ends all of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from vla_ros.launcher.output import Screen
from vla_ros.launcher.process import ChildProcess
from vla_ros.launcher.resolving import ProcessSpec

GRACE_S = 5.0
SUSPEND_S = 1.5  # for a node to stop its robot before it is suspended
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
AGAIN_S = 0.5  # a terminal and a wrapper may both forward one Ctrl-C; a deliberate second one comes later
POLL_S = 0.02
LABEL = "launch"


class Supervisor:
    """Runs processes until all have ended, one with `on_exit: shutdown` has ended, or a signal arrives.

    The processes always get SIGTERM, whatever signal ends the launch: SIGHUP from a closed terminal kills most programs
    without a clean-up. Ctrl-Z (SIGTSTP) suspends them first, each when it is ready, and then the launcher; `fg` wakes
    all of them.
    """

    def __init__(self, specs: Sequence[ProcessSpec], screen: Screen, grace_s: float = GRACE_S) -> None:
        self._specs = specs
        self._screen = screen
        self._grace_s = grace_s
        self._running: list[ChildProcess] = []
        self._signals: list[tuple[int, float]] = []  # and when they came [s]
        self._suspensions: list[int] = []
        self._exit_code = 0

    def run(self) -> int:
        """Run to the end. Return the exit code of the first process that failed by itself, else 0."""
        with self._signals_caught():
            try:
                self._start()
                self._watch()
            finally:
                self._stop()
        return self._exit_code

    def _start(self) -> None:
        for spec in self._specs:
            if self._signals:
                return
            child = ChildProcess(spec, self._screen)
            self._running.append(child)
            self._screen.line(LABEL, f"{spec.label} started, pid {child.pid}")

    def _watch(self) -> None:
        """Wait until it is time to end."""
        while self._running and not self._signals:
            if any([self._note_end(child) for child in self._ended()]):
                return
            if self._suspensions:
                self._suspend()
            time.sleep(POLL_S)

    def _suspend(self) -> None:
        """Suspend all processes, then the launcher; resume when continued."""
        self._screen.line(LABEL, "suspended: robots stop; `fg` wakes the nodes, and each robot has to be armed again")
        for child in self._running:
            child.signal(signal.SIGTSTP)
        until_s = time.monotonic() + SUSPEND_S
        while time.monotonic() < until_s and not all(child.is_suspended for child in self._running):
            time.sleep(POLL_S)
        if self._signals:
            return  # asked to end meanwhile
        for child in self._running:  # nobody would read the output of processes that still run
            child.signal(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._suspensions.clear()
        for child in self._running:
            child.signal(signal.SIGCONT)

    def _note_end(self, child: ChildProcess) -> bool:
        """Record a process that ended by itself; return whether the launch ends with it."""
        code = child.poll() or 0
        if code:
            rest = "; the launch ends with it" if child.spec.shutdown_on_exit else ""
            self._screen.line(LABEL, f"{child.spec.label} died: exit code {code}{rest}")
            self._exit_code = self._exit_code or code
        elif not child.spec.shutdown_on_exit:
            self._screen.line(LABEL, f"{child.spec.label} ended")
        return child.spec.shutdown_on_exit

    def _stop(self) -> None:
        """Ask all processes to end; kill them after the grace period, or at once on a second signal."""
        for child in self._running:
            child.signal(signal.SIGTERM)
            child.signal(signal.SIGCONT)  # a suspended process cannot handle a signal
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
        """Remove and return the processes that have ended; kill whatever they left running."""
        ended = [child for child in self._running if child.poll() is not None]
        self._running = [child for child in self._running if child not in ended]
        for child in ended:
            child.signal(signal.SIGKILL)  # anything it left in its group
            child.join(1.0)
        return ended

    @contextmanager
    def _signals_caught(self) -> Iterator[None]:
        def note(number: int, _frame: FrameType | None) -> None:
            self._signals.append((number, time.monotonic()))

        def note_suspension(number: int, _frame: FrameType | None) -> None:
            self._suspensions.append(number)

        handlers = dict.fromkeys(ENDING, note) | {signal.SIGTSTP: note_suspension}
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # `nohup`: a closed terminal ends nothing
            del handlers[signal.SIGHUP]
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
