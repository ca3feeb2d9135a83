"""vla_ros: vision-language-action policies and world models on ROS 2 robots.

This is the public Python API; everything else is internal and may change between versions. Names are imported when they
are first used, so `import vla_ros` is fast and needs neither torch nor ROS.

    import vla_ros

    policy = vla_ros.load_policy("uwm_tabletop")
    results = vla_ros.evaluate(policy, vla_ros.make_environment("tabletop"), episodes=3, seed=10000)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vla_ros.core.contract import CameraContract, PolicyContract
    from vla_ros.core.execution.commander import Commander
    from vla_ros.core.planning.planner import Planner
    from vla_ros.core.robot import RobotSpec, load_robot
    from vla_ros.core.types import ActionChunk, Observation, Prediction
    from vla_ros.evaluation.closed_loop import evaluate, summarise
    from vla_ros.policies.loading import load_policy, load_world_model
    from vla_ros.sim.environment import make_environment, observe

__version__ = "0.2.0"

_WHERE = {
    "ActionChunk": "vla_ros.core.types",
    "CameraContract": "vla_ros.core.contract",
    "Commander": "vla_ros.core.execution.commander",
    "Observation": "vla_ros.core.types",
    "Planner": "vla_ros.core.planning.planner",
    "PolicyContract": "vla_ros.core.contract",
    "Prediction": "vla_ros.core.types",
    "RobotSpec": "vla_ros.core.robot",
    "evaluate": "vla_ros.evaluation.closed_loop",
    "load_policy": "vla_ros.policies.loading",
    "load_robot": "vla_ros.core.robot",
    "load_world_model": "vla_ros.policies.loading",
    "make_environment": "vla_ros.sim.environment",
    "observe": "vla_ros.sim.environment",
    "summarise": "vla_ros.evaluation.closed_loop",
}

__all__ = [
    "ActionChunk",
    "CameraContract",
    "Commander",
    "Observation",
    "Planner",
    "PolicyContract",
    "Prediction",
    "RobotSpec",
    "evaluate",
    "load_policy",
    "load_robot",
    "load_world_model",
    "make_environment",
    "observe",
    "summarise",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'vla_ros' has no attribute '{name}'; it has {', '.join(sorted(_WHERE))}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
