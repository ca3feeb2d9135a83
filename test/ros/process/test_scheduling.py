"""A process that stands back is nice, and so is its session where it has one of its own; a shared one stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GROUP = Path("/proc/self/autogroup")
PROGRAM = """
import os
from pathlib import Path
from vla_ros.ros.process.scheduling import stand_back
stand_back(7)
stand_back(7)
print(os.nice(0), *Path("/proc/self/autogroup").read_text().split()[-1:])
"""


def weighs_sessions() -> bool:
    probe = "from pathlib import Path; p = Path('/proc/self/autogroup'); p.write_text('3'); print(p.read_text())"
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, start_new_session=True)
    return found.stdout.split()[-1:] == ["3"]


@pytest.mark.skipif(not weighs_sessions(), reason="this system has no autogroup, or permits no change to it")
@pytest.mark.parametrize("own", [True, False])
def test_it_yields_and_so_does_its_own_session(own: bool):
    shared = GROUP.read_text().split()[-1:]  # nothing where this session is as old as the system: it has no group
    asked = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, start_new_session=own)
    assert asked.stdout.split() == [str(max(7, os.nice(0))), *(["7"] if own else shared)], asked.stderr
