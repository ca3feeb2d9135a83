"""A small robot for the tests of the core: two arm joints and a gripper, two cameras."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from vla_ros.core.execution.commander import Commander
from vla_ros.core.robot import CameraSpec, CommandSpec, GuardSpec, JointSpec, RobotSpec, SyncSpec
from vla_ros.core.types import ActionChunk

MS = 1_000_000
STEP_NS = 100 * MS


def small_robot(sync: SyncSpec | None = None, guard: GuardSpec | None = None) -> RobotSpec:
    """Joints a, b in [-1, 1] at most at 2/s and a gripper g in [0, 1] at 10/s; commands at 100 Hz."""
    arm = JointSpec("a", -1.0, 1.0, 2.0, 10.0, 100.0)
    return RobotSpec(
        name="small",
        cameras=(CameraSpec("front", "/front", 4, 3, rate_hz=10.0), CameraSpec("wrist", "/wrist", 4, 3, rate_hz=10.0)),
        joints=(arm, replace(arm, name="b"), JointSpec("g", 0.0, 1.0, 10.0, 100.0, 1000.0, "gripper")),
        command=CommandSpec("/joint_commands", "Float64MultiArray", 100.0),
        sync=sync or SyncSpec(),
        guard=guard or GuardSpec(),
    )


def chunk_of(stamp_ns: int, actions: object, names: tuple[str, ...] = ("a", "b", "g")) -> ActionChunk:
    """A chunk as the policy sends it: the first action due one step after the stamp."""
    return ActionChunk(stamp_ns, stamp_ns + STEP_NS, STEP_NS, np.asarray(actions, dtype=np.float32), names)


def stands(commander: Commander, position: ArrayLike, now_ns: int) -> None:
    """Joint states up to `now_ns`, of a robot that has stood at (3,) `position` for long enough to be armed."""
    for ago_ms in range(60, -1, -10):
        assert commander.on_state(now_ns - ago_ms * MS, position, now_ns - ago_ms * MS) is None
