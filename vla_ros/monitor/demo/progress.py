"""One live line per episode: rewritten in place on a terminal, else printed once at its end."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from vla_ros.monitor.demo.episodes import DemoEpisode

INTERVAL_S = 0.1
ERASE_REST = "\x1b[K"


class ProgressLine:
    """Prints `3/13  push the red block to the left  moving  2.3 s`."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._stream = stream or sys.stdout
        self._live = self._stream.isatty()
        self._shown_s = 0.0
        self.index = 0

    def __call__(self, episode: DemoEpisode, state: str, seconds: float) -> None:
        """Show where the episode is; on a terminal at most every `INTERVAL_S`."""
        now_s = time.monotonic()
        if self._live and now_s - self._shown_s >= INTERVAL_S:
            self._shown_s = now_s
            self._write(self._cut(self._text(episode, state, seconds)), ERASE_REST + "\r")

    def waiting(self, what: str) -> None:
        """Show what the series waits for before its first episode."""
        if self._live:
            self._write(self._cut(f"waiting: {what}"), ERASE_REST + "\r")

    def ended(self, episode: DemoEpisode, state: str, seconds: float) -> None:
        """Print the episode's last line, which stays."""
        self._write(self._text(episode, state, seconds), (ERASE_REST if self._live else "") + "\n")

    def _text(self, episode: DemoEpisode, state: str, seconds: float) -> str:
        width = len(str(self._total))
        return f"{self.index:>{width}}/{self._total}  {episode.instruction:<44}  {state:<12} {seconds:5.1f} s"

    def _cut(self, text: str) -> str:
        return text[: max(shutil.get_terminal_size().columns - 1, 20)]

    def _write(self, text: str, end: str) -> None:
        self._stream.write(text + end)
        self._stream.flush()
