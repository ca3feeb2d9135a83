"""Lets the tests of this folder share `small_robot.py`; a package named `test` would hide Python's own."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
