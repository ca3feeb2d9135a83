"""Signals that ask a long piece of work to end: it looks, and ends where nothing is half done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@contextmanager
def asked_to_end() -> Iterator[list[int]]:
    """Collect the numbers of SIGTERM, SIGHUP and SIGINT in a list instead of raising, while inside."""
    asked: list[int] = []
    before: list[tuple[signal.Signals, Any]] = [(number, signal.getsignal(number)) for number in ENDING]
    for number, handler in before:
        if handler is not signal.SIG_IGN:  # nohup, say
            signal.signal(number, lambda given, _: asked.append(given))
    try:
        yield asked
    finally:
        for number, handler in before:
            signal.signal(number, handler)
