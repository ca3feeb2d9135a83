"""Where the tool is: forward kinematics of the chain in a robot's YAML, and the box that the tool must stay in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vla_ros.core.checks import unique
from vla_ros.core.errors import ConfigError

Floats = NDArray[np.float64]
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """One revolute or continuous joint, as URDF describes it: its frame in that of the joint before it, and its axis in
    its frame.

    xyz [m]; rpy [rad], fixed axes: first about x, then y, then z.
    """

    joint: str
    xyz: Triple = (0.0, 0.0, 0.0)
    rpy: Triple = (0.0, 0.0, 0.0)
    axis: Triple = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if not any(self.axis):
            raise ConfigError("axis must be a direction, such as [0, 0, 1], got [0, 0, 0]")


@dataclass(frozen=True, slots=True)
class WorkspaceSpec:
    """A box for the tool, in the frame that the chain starts in [m].

    lower, upper: two corners of the box. chain: the joints from the base to the tool.
    tool: the point that must stay inside, in the frame of the last joint [m].
    """

    lower: Triple
    upper: Triple
    chain: tuple[LinkSpec, ...]
    tool: Triple = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        unique("chain", [link.joint for link in self.chain])
        if any(low >= high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ConfigError(f"lower {self.lower} is not below upper {self.upper} in every direction")


class Workspace:
    """The tool's place for joint positions, and what is wrong with it. names: the robot's joints, in their order.

    lever: (A,) how far the tool can be from each joint's axis [m]; 0 for joints that do not move it.
    """

    def __init__(self, spec: WorkspaceSpec, names: Sequence[str]) -> None:
        self._lower, self._upper, self._tool = np.array(spec.lower), np.array(spec.upper), np.array(spec.tool)
        self.lever = _levers(spec, names)
        self._box = spec.lower, spec.upper
        self._columns = [names.index(link.joint) for link in spec.chain]
        self._origins = np.array([link.xyz for link in spec.chain])[..., None]  # (J, 3, 1)
        frames = np.stack([rotation(link.rpy) for link in spec.chain])  # (J, 3, 3)
        cross = np.stack([_cross(link.axis) for link in spec.chain])
        # Rodrigues: frame @ (1 + sin(q) cross + (1 - cos(q)) cross^2), sorted by what depends on q.
        self._still, self._sine, self._cosine = (
            frames @ (np.eye(3) + cross @ cross),
            frames @ cross,
            -frames @ cross @ cross,
        )

    def tool(self, positions: ArrayLike) -> Floats:
        """Return (..., 3) the tool's place in the base frame [m] at (..., A) joint positions."""
        angles = np.asarray(positions, dtype=np.float64)[..., self._columns, None, None]
        rotations = self._still + np.sin(angles) * self._sine + np.cos(angles) * self._cosine  # (..., J, 3, 3)
        place = self._tool[:, None]  # as a column, so that one position and many are the same to matmul
        for joint in reversed(range(len(self._columns))):
            place = rotations[..., joint, :, :] @ place + self._origins[joint]
        return place[..., 0]

    def clearance(self, positions: ArrayLike) -> float:
        """Return the distance from the tool to the nearest side of the box at (A,) positions [m]; negative outside."""
        place: list[float] = self.tool(positions).tolist()  # for three numbers, plain Python is the fastest
        return min(min(x - low, high - x) for x, low, high in zip(place, self._box[0], self._box[1], strict=True))

    def outside(self, positions: ArrayLike) -> str | None:
        """Return what lies outside the box in (A,) or (H, A) finite joint positions, or None."""
        places = self.tool(positions)
        if ((self._lower <= places) & (places <= self._upper)).all():
            return None
        places = np.atleast_2d(places)
        excess = np.maximum(self._lower - places, places - self._upper)
        row, axis = np.unravel_index(int(excess.argmax()), excess.shape)
        return (
            f"the tool is {excess[row, axis]:.3f} m outside the workspace: {'xyz'[axis]} must be "
            f"{self._lower[axis]:.3f} to {self._upper[axis]:.3f}, got {places[row, axis]:.3f}"
        )


def _levers(spec: WorkspaceSpec, names: Sequence[str]) -> Floats:
    """Return (A,): the links between each joint of the chain and the tool, stretched out."""
    lever, length = np.zeros(len(names)), float(np.linalg.norm(spec.tool))
    for link in reversed(spec.chain):
        lever[names.index(link.joint)] = length
        length += float(np.linalg.norm(link.xyz))
    return lever


def rotation(rpy: Triple) -> Floats:
    """Return (3, 3): the rotation by roll, pitch and yaw [rad] about fixed axes."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def _cross(axis: Triple) -> Floats:
    """Return (3, 3): the matrix of the cross product with the unit vector along `axis`."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
