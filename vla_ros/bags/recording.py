"""Records a bag: takes messages from any thread and writes them in its own, without blocking the sender."""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vla_ros.bags.reading.reader import BagError
from vla_ros.bags.writer import BagWriter, Channel, Format

FLUSH_S = 0.3  # most that a killed process can lose, besides queued messages
WAITING_MB = 256.0  # of messages waiting for a slow disk; more are dropped and counted


@dataclass(frozen=True, slots=True)
class Figures:
    """Progress of a recording. problem: why it ended by itself; empty while all is well."""

    path: Path
    seconds: float
    messages: int
    dropped: int
    megabytes: float
    problem: str
    counts: dict[str, int]


class Recording:
    """Opens the bag at once; `close` completes it. Thread-safe.

    min_free_mb: stop recording if the disk has less space left [MB].
    ended: called in the recording's thread, with the reason, if it ends by itself.
    Raises BagError or OSError if the bag cannot be opened.
    """

    def __init__(self, path: Path, form: Format, min_free_mb: float, ended: Callable[[str], None]) -> None:
        self._path, self._form, self._min_free_mb, self._ended = path, form, min_free_mb, ended
        self._counts: dict[str, int] = {}
        self._waiting: deque[Channel | tuple[str, int, bytes]] = deque()
        self._waiting_bytes = self._dropped = self._bytes = self._messages = 0
        self._problem, self._closing = "", False
        self._started_s = time.monotonic()
        self._changed = threading.Condition()
        self._opened = threading.Event()
        self._refusal: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()
        self._opened.wait()
        if self._refusal is not None:
            raise self._refusal

    def add(self, channel: Channel) -> None:
        """Record a topic from its first message on."""
        with self._changed:
            self._waiting.append(channel)
            self._changed.notify()

    def write(self, topic: str, receive_ns: int, data: bytes) -> None:
        """Queue a serialized message of an added topic."""
        with self._changed:
            if self._problem or self._closing:
                return
            if self._waiting_bytes + len(data) > WAITING_MB * 1e6:
                self._dropped += 1
                return
            self._waiting.append((topic, receive_ns, data))
            self._waiting_bytes += len(data)
            self._changed.notify()

    def figures(self) -> Figures:
        """Return what was recorded so far."""
        with self._changed:
            seconds = time.monotonic() - self._started_s
            return Figures(
                self._path, seconds, self._messages, self._dropped, self._bytes / 1e6, self._problem, dict(self._counts)
            )

    def close(self) -> Figures:
        """Write what is queued, and complete the bag."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        return self.figures()

    def _run(self) -> None:
        try:
            writer = BagWriter(self._path, self._form)  # here, since sqlite3 must stay in one thread
        except (BagError, OSError) as error:
            self._refusal = error
            return
        finally:
            self._opened.set()
        try:
            self._record(writer)
        except Exception as error:  # report any error, but let it stop nothing else
            self._fail(str(error) or repr(error))
        try:
            writer.close()
        except Exception as error:
            self._fail(f"{error}; `vla-ros bag repair {self._path}` completes the bag")

    def _record(self, writer: BagWriter) -> None:
        flush_s = time.monotonic() + FLUSH_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing, max(flush_s - time.monotonic(), 0.0))
                batch, self._waiting = self._waiting, deque()
                self._waiting_bytes, closing = 0, self._closing
            for one in batch:
                self._take(writer, one)
            if time.monotonic() >= flush_s:
                self._check_space()
                writer.flush()
                flush_s = time.monotonic() + FLUSH_S
            if closing and not batch:
                return

    def _take(self, writer: BagWriter, one: Channel | tuple[str, int, bytes]) -> None:
        if isinstance(one, Channel):
            writer.add(one)
            return
        writer.write(*one)
        with self._changed:
            self._messages += 1
            self._bytes += len(one[2])
            self._counts[one[0]] = self._counts.get(one[0], 0) + 1

    def _check_space(self) -> None:
        free_mb = shutil.disk_usage(self._path).free / 1e6
        if free_mb < self._min_free_mb:
            raise BagError(f"{free_mb:.0f} MB left on the disk; recording ends at {self._min_free_mb:.0f} MB")

    def _fail(self, problem: str) -> None:
        with self._changed:
            self._problem = self._problem or problem
        self._ended(problem)
