"""Signals of a process that may move a robot: which ones end it, and what Ctrl-Z does."""

from __future__ import annotations

import signal

# A terminal that closes (SIGHUP) and Ctrl-\ (SIGQUIT) end a process as Ctrl-C and SIGTERM do: by their default they
# would end it at once, and leave a robot that takes velocities in motion.
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def ending() -> tuple[signal.Signals, ...]:
    """Return the signals that end this process. Under `nohup` a closed terminal does not."""
    return tuple(one for one in ENDING if one != signal.SIGHUP or signal.getsignal(one) != signal.SIG_IGN)


def signals_interrupt() -> None:
    """Make each of them raise KeyboardInterrupt; SIGINT too, which a shell's background jobs ignore."""
    for number in ending():
        signal.signal(number, signal.default_int_handler)


def signals_ask() -> list[int]:
    """Make none of them raise, and return a list that their numbers are added to."""
    asked: list[int] = []
    for number in ending():
        signal.signal(number, lambda given, _: asked.append(given))
    return asked


def signals_ignored() -> None:
    """Ignore all of them: the process is already ending."""
    for number in ending():
        signal.signal(number, signal.SIG_IGN)


def suspension_asks() -> list[int]:
    """Make SIGTSTP (Ctrl-Z) add its number to the returned list.

    The process can then suspend itself with SIGSTOP once nothing moves. If the signal was ignored, it stays so.
    """
    asked: list[int] = []
    if signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL:
        signal.signal(signal.SIGTSTP, lambda given, _: asked.append(given))
    return asked
