"""Grippers that only open and close: hysteresis, so that a wavering plan neither chatters nor fails to grasp."""

from __future__ import annotations

import numpy as np

from vla_ros.core.execution.limits import Positions
from vla_ros.core.robot import GripperSpec, JointSpec, RobotSpec


def closes(closed: bool, wish: float, spec: GripperSpec) -> bool:
    """Return whether a gripper should be closed, given its state and a wish from 0 (open) to 1 (closed)."""
    return wish > (spec.open_below if closed else spec.close_above)


class Grippers:
    """The state of all grippers of a robot that only open and close; every other joint passes through."""

    def __init__(self, robot: RobotSpec) -> None:
        self._binary = [(i, joint, joint.gripper) for i, joint in enumerate(robot.joints) if joint.gripper]
        self._closed = dict.fromkeys((i for i, _, _ in self._binary), False)

    def start(self, positions: Positions) -> None:
        """Take each gripper's state from (A,) positions: whichever end is nearer."""
        for i, joint, spec in self._binary:
            self._closed[i] = _closure(joint, spec, float(positions[i])) > 0.5

    def decided(self, positions: Positions) -> Positions:
        """Return (A,) wanted positions with each such gripper at one of its ends."""
        if not self._binary:
            return positions
        decided = np.array(positions, dtype=np.float64)
        for i, joint, spec in self._binary:
            self._closed[i] = closes(self._closed[i], _closure(joint, spec, float(positions[i])), spec)
            decided[i] = joint.upper if self._closed[i] == (spec.closed_at == "upper") else joint.lower
        return decided


def _closure(joint: JointSpec, spec: GripperSpec, position: float) -> float:
    """Return how closed a gripper is, from 0 (open) to 1 (closed)."""
    share = (position - joint.lower) / (joint.upper - joint.lower)
    return share if spec.closed_at == "upper" else 1.0 - share
