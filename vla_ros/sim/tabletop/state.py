"""The true state of the tabletop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrueState:
    """What the simulator knows and a robot does not. Positions in m, angles in rad.

    joints: (6,) arm. gripper: 0 open to 1 closed. tip: (3,) between the fingertips. blocks: colour -> (3,) centre.
    handle: (3,). drawer: opening.
    """

    joints: Array
    gripper: float
    tip: Array
    blocks: dict[str, Array]
    handle: Array
    drawer: float
