"""UR5e kinematics from the datasheet's Denavit-Hartenberg parameters, batched; inverse by damped least squares.

Angles in rad, lengths in m. The base is turned by half a turn about z, so that the arm at zero pan reaches along +x.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DH_A = np.array([0.0, -0.425, -0.3922, 0.0, 0.0, 0.0])
DH_D = np.array([0.1625, 0.0, 0.0, 0.1333, 0.0997, 0.0996])
DH_ALPHA = np.array([np.pi / 2, 0.0, 0.0, np.pi / 2, -np.pi / 2, 0.0])
TIP_Z = 0.145  # flange to the point between the fingertips
LOWER = np.array([-2, -2, -1, -2, -2, -2]) * np.pi
UPPER = -LOWER
HOME = np.array([-0.2, -1.5, 1.9, -1.97, -1.57, -1.77])
POINTING_DOWN = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
_BASE = np.diag([-1.0, -1.0, 1.0, 1.0])
_TIP = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, TIP_Z], [0, 0, 0, 1.0]])


def joint_transforms(q: Array) -> Array:
    """(B, 6) -> (B, 6, 4, 4): one Denavit-Hartenberg transform a joint."""
    c, s = np.cos(q), np.sin(q)
    ca, sa = np.cos(DH_ALPHA), np.sin(DH_ALPHA)
    t = np.zeros((*q.shape, 4, 4))
    t[..., 0, 0], t[..., 0, 1], t[..., 0, 2], t[..., 0, 3] = c, -s * ca, s * sa, DH_A * c
    t[..., 1, 0], t[..., 1, 1], t[..., 1, 2], t[..., 1, 3] = s, c * ca, -c * sa, DH_A * s
    t[..., 2, 1], t[..., 2, 2], t[..., 2, 3] = sa, ca, DH_D
    t[..., 3, 3] = 1.0
    return t


def forward(q: Array) -> tuple[Array, Array, Array]:
    """(B, 6) -> tip position (B, 3), tip rotation (B, 3, 3), geometric Jacobian (B, 6, 6) of both."""
    transforms, pose = joint_transforms(q), np.broadcast_to(_BASE, (len(q), 4, 4))
    axes, origins = [], []
    for joint in range(6):
        axes.append(pose[:, :3, 2])
        origins.append(pose[:, :3, 3])
        pose = pose @ transforms[:, joint]
    tip = pose @ _TIP
    axis, origin = np.stack(axes, axis=1), np.stack(origins, axis=1)  # (B, 6, 3)
    linear = np.cross(axis, tip[:, None, :3, 3] - origin)
    return tip[:, :3, 3], tip[:, :3, :3], np.concatenate([linear, axis], axis=-1).swapaxes(1, 2)


def rotation_error(target: Array, current: Array) -> Array:
    """(3, 3), (B, 3, 3) -> (B, 3): the small rotation [rad] that takes `current` to `target`."""
    return 0.5 * np.cross(current, np.broadcast_to(target, current.shape), axis=1).sum(axis=2)


def solve(positions: Array, q: Array, iterations: int = 4, damping: float = 1e-2) -> Array:
    """Joint angles (B, 6) near `q` (B, 6) whose tip is at `positions` (B, 3), pointing down.

    Damped least squares (Wampler, 1986): dq = J^T (J J^T + damping^2 I)^-1 error. For targets a few centimetres from
    where `q` is, as in following a path, two iterations suffice.
    """
    q = q.copy()
    for _ in range(iterations):
        position, rotation, jacobian = forward(q)
        error = np.concatenate([positions - position, rotation_error(POINTING_DOWN, rotation)], axis=-1)  # (B, 6)
        gram = jacobian @ jacobian.swapaxes(1, 2) + damping**2 * np.eye(6)
        step = jacobian.swapaxes(1, 2) @ np.linalg.solve(gram, error[..., None])
        q = np.clip(q + np.clip(step[..., 0], -0.5, 0.5), LOWER, UPPER)
    return q
