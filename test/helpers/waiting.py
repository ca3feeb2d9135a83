"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], limit_s: float = 60.0, what: str = "") -> Any:
    """Wait for `condition`; its value, or a failed test."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {limit_s} s for {what or condition}"
        time.sleep(0.005)
    return value
