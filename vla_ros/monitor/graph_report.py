"""What `vla-ros bench graph` reports: latency by stage, the commander's period, and its load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from vla_ros.monitor.latency import Percentiles, percentiles


def periods(arrivals_s: Sequence[float]) -> Percentiles:
    """Return percentiles of the time between commands as they arrive [ms]."""
    return percentiles(np.diff(np.asarray(arrivals_s)) * 1e3)


def graph_report(
    stages: Mapping[str, Percentiles],
    arrivals_s: Sequence[float],
    own_p99_ms: Sequence[float],
    load: Sequence[float],
    says: Mapping[str, str],
    faults: int,
    conditions: Mapping[str, object],
) -> dict[str, object]:
    """Return the report as plain data.

    own_p99_ms: the commander's control period by its own clock, once a second; arrivals also include delays of the
    receiver. load: its share of a core [%], once a second. faults: how often it reported a fault.
    """
    return {
        **conditions,
        "stages_ms": {name: asdict(row) for name, row in stages.items()},
        "command_period_ms": asdict(periods(arrivals_s)),
        "commands": len(arrivals_s),
        "control_period_p99_ms": round(float(np.median(own_p99_ms)), 2) if own_p99_ms else None,
        "commander_cpu_percent": round(float(np.mean(load)), 1) if load else None,
        "faults": faults,
        "nodes": dict(says),
    }
