"""Turns at a machine that two processes share: one says when it is at work, the other waits meanwhile.

The leader (the policy) says an interval on the system's steady clock, which all processes share: while it infers, and
when it will probably infer next. The follower (the world model) looks between two slices of its work, and waits while
the interval lasts. The leader never waits for anybody. What it says ends by itself, so that a killed leader holds
nobody up. Where the file cannot be had, both work as if the other were not there.

The interval stands in a file of 16 bytes in the system's shared memory, as FastDDS's own. It is written and read, not
mapped: a mapped file that somebody else cuts short kills who touches it.
"""

from __future__ import annotations

import os
import stat
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vla_ros.core.types import NS_PER_S

NOBODY = "nobody to give way to"
INTERVAL = struct.Struct("=qq")  # from and until [ns] of the steady clock
LONGEST_NS = NS_PER_S  # of an interval: what a leader that was killed within its turn may cost
LEAD_NS, SLACK_NS = 30_000_000, 5_000_000  # before the next turn, at most; and how late that may begin
PATIENCE_NS = NS_PER_S // 2
SLICE_NS, PAUSE_S = 500_000, 0.001  # how often the follower looks: at work, and while it waits
FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # in a folder that is anybody's


def turns_file(domain: int, namespace: str, folder: Path | None = None) -> Path:
    """Return where the nodes of one user, domain and namespace meet: in shared memory, if there is such a folder."""
    if folder is None:
        shared = Path("/dev/shm")
        folder = shared if shared.is_dir() else Path(tempfile.gettempdir())
    name = namespace.strip("/").replace("/", ".")  # names of ROS hold no dot
    return folder / f"vla_ros_turns-{os.getuid()}-{domain}-{name}"


class Leader:
    """Says when it is at work; one thread. problem: why nobody hears it, in words; empty where all is well."""

    def __init__(self, path: Path, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.problem = ""
        self._path, self._clock_ns = path, clock_ns
        self._started_ns = 0

    @contextmanager
    def turn(self, lead_ns: int = 0) -> Iterator[None]:
        """Mark the work while inside. lead_ns: how long before, the work's input begins to arrive.

        The next turn is expected as long after this one as this one came after the last.
        """
        last_ns, self._started_ns = self._started_ns, self._clock_ns()
        started_ns, period_ns = self._started_ns, self._started_ns - last_ns
        self._say(started_ns, started_ns + LONGEST_NS)
        try:
            yield
        finally:
            next_ns = started_ns + period_ns
            known = period_ns <= LONGEST_NS
            self._say(*(next_ns - min(max(lead_ns, 0), LEAD_NS), next_ns + SLACK_NS) if known else (0, 0))

    def close(self) -> None:
        """Leave nothing behind; the next turn says it anew."""
        with suppress(OSError):  # none was said, or not by us
            self._path.unlink()

    def _say(self, from_ns: int, until_ns: int) -> None:
        """Write an interval. Reopen the file every time (15 us): cleared shared memory must not part the two."""
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | FLAGS, 0o600)
            try:
                _check(file)
                os.pwrite(file, INTERVAL.pack(from_ns, until_ns), 0)
            finally:
                os.close(file)
        except OSError as error:
            self.problem = f"nobody gives way: {error.strerror}: {self._path}"
        else:
            self.problem = ""


class Follower:
    """Waits while a leader is at work, but for no more than about half of its time; any thread.

    polite: False never waits. waited_ns: how long it did in all.
    problem: why it hears nobody, in words; empty where there is just nobody, too.
    """

    def __init__(
        self,
        path: Path,
        polite: bool = True,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.waited_ns, self.problem = 0, ""
        self._path, self._polite, self._clock_ns, self._sleep = path, polite, clock_ns, sleep
        self._lock = threading.Lock()
        self._patience_ns, self._looked_ns = PATIENCE_NS, 0
        self._file: int | None = None
        self._opened_ns = -LONGEST_NS

    @property
    def state(self) -> str:
        """Whether it hears a leader, in words."""
        if not self._polite:
            return "not taken"
        return self.problem or (NOBODY if self._file is None else "listens to the policy")

    def give_way(self) -> None:
        """Call between two slices of work: returns when it is the follower's turn.

        Work and rest earn patience, waiting uses it up: beside a leader that is always at work something gets done.
        """
        if self._polite:
            with self._lock:  # whoever else comes waits as long
                self._wait()

    def close(self) -> None:
        """Give the file back; `give_way` would open it again."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _wait(self) -> None:
        now_ns = self._clock_ns()
        if now_ns - self._looked_ns < SLICE_NS:
            return
        self._patience_ns = min(self._patience_ns + now_ns - self._looked_ns, PATIENCE_NS)
        self._looked_ns = now_ns
        while self._patience_ns > 0 and self._leader_works(now_ns):
            self._sleep(PAUSE_S)
            now_ns = self._clock_ns()
            slept_ns, self._looked_ns = now_ns - self._looked_ns, now_ns
            self._patience_ns -= slept_ns
            self.waited_ns += slept_ns

    def _leader_works(self, now_ns: int) -> bool:
        if now_ns - self._opened_ns >= LONGEST_NS:  # the file may be new, or another one
            self._open(now_ns)
        said, file = b"", self._file
        with suppress(OSError):
            said = b"" if file is None else os.pread(file, INTERVAL.size, 0)
        if len(said) < INTERVAL.size:
            return False
        from_ns, until_ns = INTERVAL.unpack(said)
        # Anything longer was not said by a leader of this boot, or is being written at this moment.
        return bool(from_ns <= now_ns < until_ns <= from_ns + LONGEST_NS)

    def _open(self, now_ns: int) -> None:
        self.close()
        self._opened_ns, self.problem = now_ns, ""
        try:
            self._file = os.open(self._path, os.O_RDONLY | FLAGS)
            _check(self._file)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.close()
            self.problem = f"{NOBODY}: {error.strerror}: {self._path}"


def _check(file: int) -> None:
    """Refuse a file of another user: in a shared folder anybody may have put something there."""
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
        raise OSError(0, "it is another user's, or no file")
