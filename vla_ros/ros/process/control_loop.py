"""The control period: a step at a fixed rate, by the wall clock in a thread, by simulated time in a timer."""

from __future__ import annotations

import inspect
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from vla_ros.ros.process.lifecycle import ManagedNode

SWITCH_S = 0.0005  # Python's threads change at least so often; its default would be a whole control period at 200 Hz


class ControlLoop:
    """Calls `step()` every `period_s` until `close`.

    A thread that sleeps costs a third of what an rclpy timer does, and callbacks do not keep it waiting; so `step` must
    be ready for both. Simulated time cannot be slept on: there a timer calls it. An error in `step` ends the process,
    as it would in a timer.
    """

    def __init__(self, node: ManagedNode, period_s: float, step: Callable[[], None]) -> None:
        self._node, self._period_s, self._step = node, period_s, step
        self._closed = threading.Event()
        self._timer: Any = None
        self._thread: threading.Thread | None = None
        if node.get_parameter("use_sim_time").value:
            self._timer = node.create_timer(period_s, step)
            return
        sys.setswitchinterval(SWITCH_S)
        # rclpy's first line of log looks at every module for its caller's, and keeps what it found in `inspect`: 20 ms,
        # which no control period has.
        inspect.getframeinfo(sys._getframe())
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Begin no further step; return when the last one has ended."""
        self._closed.set()
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        due_s = time.monotonic()
        try:
            while not self._closed.is_set():
                self._step()
                due_s = max(due_s + self._period_s, time.monotonic() - self._period_s)  # never a burst after a pause
                time.sleep(max(due_s - time.monotonic(), 0.0))
        except Exception as error:
            self._node.broken = error
