"""How chunks are executed: one name for each mode, as the parameter `execution` spells it."""

from __future__ import annotations

from collections.abc import Callable

from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.execution.blending import Blend, cross_fade, real_time_chunking, receding_horizon, switch
from vla_ros.core.execution.ensembling import TemporalEnsembling

# Each makes a blend of its own: temporal ensembling remembers the chunks of one plan.
EXECUTIONS: dict[str, Callable[[], Blend]] = {
    "receding_horizon": lambda: receding_horizon,
    "temporal_ensembling": TemporalEnsembling,
    "cross_fade": lambda: cross_fade,
    "real_time_chunking": lambda: real_time_chunking,
    "switch": lambda: switch,
}


def blend_of(execution: str) -> Blend:
    """Return the blend of a mode, for one plan."""
    if execution not in EXECUTIONS:
        raise ConfigError(f"execution '{execution}' is not known{did_you_mean(execution, EXECUTIONS)}")
    return EXECUTIONS[execution]()
