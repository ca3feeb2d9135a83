"""One child process: in its own group, with its output on the screen. It ends when the launcher ends."""

from __future__ import annotations

import ctypes
import fcntl
import os
import pty
import shutil
import signal
import struct
import subprocess
import termios
import threading
from contextlib import suppress
from pathlib import Path

from vla_ros.core.errors import ConfigError
from vla_ros.launcher.output import LineSplitter, Screen
from vla_ros.launcher.resolving import ProcessSpec

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class ChildProcess:
    """A started process of a launch; it gets SIGTERM if the launcher itself is killed."""

    def __init__(self, spec: ProcessSpec, screen: Screen) -> None:
        self.spec = spec
        self._screen = screen
        use_pty = spec.emulate_tty and screen.is_tty
        reader, writer = _terminal(len(spec.label) + 3) if use_pty else os.pipe()
        try:
            self._process = subprocess.Popen(
                spec.command,
                env={**spec.environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        except OSError as error:
            os.close(reader)
            raise ConfigError(f"{spec.label}: cannot start {spec.command[0]}: {error}") from None
        finally:
            os.close(writer)
        self._reader = threading.Thread(target=self._read, args=(reader,), name=f"output-{spec.label}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id; also the id of its process group."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code as a shell would (128 + signal for a killed process); None while it runs."""
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    @property
    def is_suspended(self) -> bool:
        """Return whether it is suspended (SIGTSTP or SIGSTOP) or has ended."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] in "TZX"
        except OSError:
            return True

    def join(self, timeout_s: float) -> None:
        """Collect the exit code and let the last output reach the screen."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        self._reader.join(timeout_s)

    def _read(self, reader: int) -> None:
        lines = LineSplitter(self._screen, self.spec.label)
        with suppress(OSError):  # a pty whose other end closed answers with EIO
            while data := os.read(reader, 65536):
                lines.feed(data)
        lines.close()
        os.close(reader)


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _terminal(prefix_width: int) -> tuple[int, int]:
    """Return a pseudo terminal, narrower than ours by the prefix: (our end, the child's end)."""
    ours, theirs = pty.openpty()
    columns, rows = shutil.get_terminal_size((110, 24))
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, max(columns - prefix_width, 20), 0, 0))
    return ours, theirs
