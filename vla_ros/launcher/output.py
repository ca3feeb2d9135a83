"""Output of all processes on one screen: each line labelled with its process, progress lines updated in place."""

from __future__ import annotations

import os
import sys
import threading
from typing import TextIO

from vla_ros.core.printable import printable_line

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)
_ERASE = "\r\x1b[K"


class Screen:
    r"""A stream that several threads write whole lines to; progress (text that ends in \r) is shown only on a tty."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._lock = threading.Lock()
        self._progress, self._owner = "", ""
        self._colours: dict[str, int] = {}
        self.is_tty = self._stream.isatty()

    def prefix(self, label: str) -> str:
        """Return `[label] `, in its own colour on a tty."""
        if not self.is_tty:
            return f"[{label}] "
        colour = self._colours.setdefault(label, COLOURS[len(self._colours) % len(COLOURS)])
        return f"\x1b[{colour}m[{label}]\x1b[0m "

    def line(self, label: str, text: str) -> None:
        """Write one line. It ends the progress line of its own process; that of another stays below it."""
        with self._lock:
            erase = _ERASE if self._progress else ""
            if label == self._owner:
                self._progress = ""
            self._write(f"{erase}{self.prefix(label)}{text}\n{self._progress}")

    def progress(self, label: str, text: str) -> None:
        """Show `text` on the last line of the screen, replacing the previous progress."""
        if not self.is_tty:
            return
        with self._lock:
            self._progress, self._owner = self.prefix(label) + text, label
            self._write(f"{_ERASE}{self._progress}")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the pipe or terminal is gone; still end the processes properly
            self._stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


class LineSplitter:
    """Turns the bytes of one process into whole lines and progress lines on the screen."""

    def __init__(self, screen: Screen, label: str) -> None:
        self._screen = screen
        self._label = label
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take what was read; show whole lines at once."""
        *lines, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            self._show(line)
        if b"\r" in self._rest:
            *earlier, self._rest = self._rest.split(b"\r")
            self._screen.progress(self._label, _text(earlier[-1]))

    def close(self) -> None:
        """Show the last line, which has no line end."""
        if self._rest:
            self._show(self._rest)
            self._rest = b""

    def _show(self, line: bytes) -> None:
        self._screen.line(self._label, _text(line.rpartition(b"\r")[2]))


def _text(data: bytes) -> str:
    """Escape control characters except colours: a node may log untrusted names."""
    return printable_line(data.decode("utf-8", errors="replace").replace("\x1b[K", ""))
