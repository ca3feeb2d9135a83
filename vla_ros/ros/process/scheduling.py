"""Real-time priority for a process that must keep its period beside busy ones, as ros2_control's manager takes it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def take_priority(priority: int) -> str:
    """Schedule every thread of this process, and those it will start, as SCHED_FIFO of that priority (1 to 99).

    0 leaves all as it is. Return the outcome in words. The system grants it to root, and to users with an
    `rtprio` limit (limits.conf).
    """
    if priority == 0:
        return "ordinary"
    try:
        for thread in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return "ordinary: the system does not permit a real-time priority"
    except (OSError, AttributeError):
        return "ordinary: this system knows no SCHED_FIFO"
    return f"real-time, SCHED_FIFO {priority}"


def stand_back(nice: int) -> None:
    """Make this process, and the threads it will start, yield to those that move the robot.

    Linux weighs a session against other sessions before it looks at nice values (autogroup, sched(7)). A node that our
    launcher started has a session of its own: it lowers that, too. One that shares a session must not.
    """
    os.nice(max(nice - os.nice(0), 0))
    if os.getsid(0) == os.getpid():
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(nice))
