"""One thread for slow work, one place in its queue: the newest job wins, the executor never blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Job = TypeVar("Job")


class Worker(Generic[Job]):
    """Calls `work(job)` in its own thread. An exception of `work` goes to `failed` and the thread lives on."""

    def __init__(self, work: Callable[[Job], None], failed: Callable[[Exception], None], name: str) -> None:
        self._work, self._failed = work, failed
        self._job: Job | None = None
        self._busy = self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a job is under way or waiting."""
        with self._changed:
            return self._busy or self._job is not None

    def submit(self, job: Job) -> None:
        """Do `job` next; it takes the place of one that waits."""
        with self._changed:
            self._job = job
            self._changed.notify()

    @property
    def ended(self) -> bool:
        """Whether its thread is over."""
        return not self._thread.is_alive()

    def close(self, timeout_s: float = 1.0) -> bool:
        """End the thread after the job under way; False if it did not end in time."""
        with self._changed:
            self._closed, self._job = True, None
            self._changed.notify()
        self._thread.join(timeout_s)
        return self.ended

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._work(job)
            except Exception as error:
                self._failed(error)
            finally:
                with self._changed:
                    self._busy = False

    def _next(self) -> Job | None:
        with self._changed:
            while self._job is None and not self._closed:
                self._changed.wait()
            job, self._job = self._job, None
            self._busy = job is not None
            return job
