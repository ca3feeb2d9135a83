"""The true policy node, whose policy fails while a file beside the script says how."""

from __future__ import annotations

import time
from pathlib import Path

SCRIPT = """
import math, time
from pathlib import Path
import torch
from vla_ros.policies import uwm

FAULT = Path(__file__).with_name("fault")

class Failing(uwm.UWMPolicy):
    def infer(self, observation):
        chunk = super().infer(observation)
        fault, _, rest = FAULT.read_text().partition(" ") if FAULT.exists() else ("", "", "")
        if fault == "once":
            FAULT.unlink()
        if fault in ("once", "raise"):
            raise RuntimeError("the network is confused")
        if fault == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if fault == "slow":
            time.sleep(float(rest))
        if fault in ("nan", "inf"):
            chunk.actions[3, 2] = math.nan if fault == "nan" else math.inf
        return chunk

uwm.UWMPolicy = Failing

from vla_ros.nodes.policy import main

main()
"""


def write_script(folder: Path) -> Path:
    """The policy node as a script."""
    path = folder / "failing_policy.py"
    path.write_text(SCRIPT)
    return path


def set_fault(folder: Path, fault: str) -> float:
    """`once`, `raise`, `memory`, `slow SECONDS`, `nan`, `inf`, or nothing. The moment [s, wall clock]."""
    new = folder / "fault.new"
    new.write_text(fault)
    new.rename(folder / "fault")
    return time.time()
