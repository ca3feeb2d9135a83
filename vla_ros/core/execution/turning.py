"""Joints that turn without end: any two angles a full turn apart are the same place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vla_ros.core.execution.limits import Positions
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import ActionChunk

TURN = 2 * np.pi


class Turning:
    """The continuous joints of a robot. Drivers report them wrapped, mostly into [-pi, pi]; inside they go on counting,
    so that motion across the seam is the short way that it is, and no command ever goes back by a full turn.
    """

    def __init__(self, robot: RobotSpec) -> None:
        self._columns = np.array([i for i, joint in enumerate(robot.joints) if joint.kind == "continuous"], np.intp)

    def unwrapped(self, reading: Positions, near: Positions) -> Positions:
        """Return (A,) `reading` with every continuous joint in the turn that is nearest to `near`, (A,)."""
        if not len(self._columns):
            return reading
        turned = reading.copy()
        turned[self._columns] += _turns(near[self._columns] - reading[self._columns])
        return turned

    def chunk(self, chunk: ActionChunk, near: Positions, now_ns: int) -> ActionChunk:
        """Return `chunk` (A columns) without jumps of full turns, in the turn in which it is now nearest to `near`.

        As it is where it holds what is not finite: the guard refuses that by name.
        """
        if not len(self._columns) or chunk.actions.shape[1] != len(near):
            return chunk
        columns = chunk.actions[:, self._columns].astype(np.float64)
        if not np.isfinite(columns).all():
            return chunk
        columns = np.unwrap(columns, axis=0)
        due = min(int(np.searchsorted(chunk.due_ns, now_ns, side="right")), len(columns) - 1)
        actions = chunk.actions.copy()
        actions[:, self._columns] = columns + _turns(near[self._columns] - columns[due])
        return replace(chunk, actions=actions)


def _turns(distance: Positions) -> Positions:
    """Return whole turns, as near to `distance` as they get [rad]."""
    whole: Positions = np.round(distance / TURN) * TURN
    return whole
