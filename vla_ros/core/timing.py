"""What diagnostics say about time: latencies, rates and ages, over bounded windows."""

from __future__ import annotations

import time
from collections import deque

import numpy as np

from vla_ros.core.types import NS_PER_S


class LatencyStats:
    """The last `window` latencies of one stage."""

    def __init__(self, window: int = 512) -> None:
        self._samples_ms: deque[float] = deque(maxlen=window)

    def add_ns(self, latency_ns: int) -> None:
        """Take one latency [ns]."""
        self._samples_ms.append(latency_ns / 1e6)

    def quantile_ms(self, q: float) -> float:
        """Return a quantile (0 to 1) over the window [ms]; NaN while it is empty."""
        return float(np.quantile(self._samples_ms, q)) if self._samples_ms else float("nan")

    def clear(self) -> None:
        """Clear the window."""
        self._samples_ms.clear()


class RateMeter:
    """Rate and age of one stream, from the moments at which its messages came."""

    def __init__(self, window: int = 32) -> None:
        self._moments: deque[int] = deque(maxlen=max(window, 2))
        self.count = 0

    def tick(self, now_ns: int) -> None:
        """Note one message. A clock that went back starts the window anew."""
        if self._moments and now_ns < self._moments[-1]:
            self._moments.clear()
        self._moments.append(now_ns)
        self.count += 1

    def rate_hz(self, now_ns: int) -> float:
        """Return messages per second over the window; a silence longer than the usual gap pulls it down towards 0."""
        if len(self._moments) < 2:
            return 0.0
        gaps = len(self._moments) - 1
        mean_ns = (self._moments[-1] - self._moments[0]) / gaps
        silence_ns = now_ns - self._moments[-1]
        span_ns = max(mean_ns * gaps, 1.0)
        return gaps * NS_PER_S / (span_ns if silence_ns <= 2 * mean_ns else span_ns + silence_ns)

    def age_s(self, now_ns: int) -> float:
        """Return seconds since the last message; infinite before the first, or if the clock went back by over 1 s."""
        age_s = (now_ns - self._moments[-1]) / NS_PER_S if self._moments else float("inf")
        return age_s if age_s > -1 else float("inf")


class CpuMeter:
    """How much of one core this process uses, all of its threads together."""

    def __init__(self) -> None:
        self._used_s, self._since_s = time.process_time(), time.monotonic()

    def share(self) -> float:
        """Return CPU time over wall time since the last call; 1 is one core."""
        used_s, now_s = time.process_time(), time.monotonic()
        share = (used_s - self._used_s) / max(now_s - self._since_s, 1e-9)
        self._used_s, self._since_s = used_s, now_s
        return share
