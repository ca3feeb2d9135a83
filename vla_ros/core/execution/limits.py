"""What a command must be: finite, inside the joint limits, no faster than the joints may move."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vla_ros.core.robot import RobotSpec

Positions = NDArray[np.float64]
MOST = 1e6  # that a joint without ends can be at


def clamp(values: Positions, low: ArrayLike, high: ArrayLike) -> Positions:
    """Clip as `np.clip` does, which takes four times as long for a handful of joints."""
    clamped: Positions = np.minimum(np.maximum(values, low), high)
    return clamped


class Limits:
    """The limits of a robot as arrays, and the three questions asked of every command."""

    def __init__(self, robot: RobotSpec) -> None:
        margin = np.where(robot.is_gripper, 0.0, robot.guard.position_margin)
        self.names = robot.joint_names
        self._hard = robot.limits("lower"), robot.limits("upper")
        self.lower = robot.limits("lower") + margin
        self.upper = robot.limits("upper") - margin
        self.max_velocity = robot.limits("max_velocity")
        self._tolerance = robot.guard.limit_tolerance
        self._real = np.clip([self._hard[0] - self._tolerance, self._hard[1] + self._tolerance], -MOST, MOST)
        self._lowest, self._highest = self.lower - self._tolerance, self.upper + self._tolerance
        far = robot.guard.max_jump, robot.guard.max_following_error
        self._max_jump, self._max_lag = (np.where(robot.is_gripper, np.inf, limit) for limit in far)

    def not_finite(self, positions: ArrayLike) -> str | None:
        """Return what is not finite in (A,) or (H, A) positions. clamp lets NaN through, so this comes first."""
        finite = np.isfinite(np.asarray(positions, dtype=np.float64))
        if finite.all():
            return None
        columns = np.atleast_2d(finite).T
        return (
            f"not finite: {', '.join(name for name, good in zip(self.names, columns, strict=True) if not good.all())}"
        )

    def far_outside(self, positions: ArrayLike) -> str | None:
        """Return what lies outside the limits by more than the tolerance, in (A,) or (H, A) finite positions."""
        values = np.asarray(positions, dtype=np.float64)
        if ((self._lowest <= values) & (values <= self._highest)).all():
            return None
        excess = np.atleast_2d(np.maximum(self.lower - values, values - self.upper)).max(axis=0)
        worst = int(excess.argmax())
        return f"{self.names[worst]} is {excess[worst]:.3f} outside its limits (tolerance {self._tolerance})"

    def unreal(self, reading: Positions) -> str | None:
        """Return which joint of an (A,) reading is not finite or outside its limits (without the margin), or None."""
        if ((self._real[0] <= reading) & (reading <= self._real[1])).all():
            return None
        broken = self.not_finite(reading)
        if broken is not None:
            return f"joint states are {broken}"
        excess = np.maximum(self._hard[0] - reading, reading - self._hard[1])
        if (excess <= self._tolerance).all():
            most = int(np.abs(reading).argmax())
            return f"joint states: {self.names[most]} reads {reading[most]:.3g}: no joint gets there"
        worst = int(excess.argmax())
        return (
            f"joint states: {self.names[worst]} reads {reading[worst]:.3f}, {excess[worst]:.3f} outside its limits "
            f"(tolerance {self._tolerance})"
        )

    def far_from(self, target: ArrayLike, measured: ArrayLike) -> str | None:
        """Return which arm joint's target is further from its measured position than motion can explain, or None."""
        far = self._farther(target, measured, self._max_jump)
        return far and "{} is asked to jump by {:.3f} (limit {})".format(*far)

    def lags(self, commanded: ArrayLike, measured: ArrayLike) -> str | None:
        """Return which arm joint is further from its command than a robot that follows would be, or None."""
        far = self._farther(commanded, measured, self._max_lag)
        return far and "{} is {:.3f} from its command (limit {}): the robot does not follow".format(*far)

    def _farther(self, target: ArrayLike, measured: ArrayLike, limit: Positions) -> tuple[str, float, float] | None:
        distance = np.abs(np.asarray(target, np.float64) - np.asarray(measured, np.float64))
        if (distance <= limit).all():
            return None
        worst = int((distance - limit).argmax())
        return self.names[worst], float(distance[worst]), float(limit[worst])

    def with_margin(self, target: ArrayLike) -> Positions:
        """Return (A,) float64: `target` clamped into the limits and their margin."""
        return clamp(np.asarray(target, dtype=np.float64), self.lower, self.upper)

    def within(self, target: ArrayLike) -> Positions:
        """Return (A,) float64: `target` clamped into the limits themselves, without their margin."""
        inside: Positions = clamp(np.asarray(target, dtype=np.float64), *self._hard)
        return inside

    def slowed(self, target: Positions, last: Positions, dt_s: float) -> Positions:
        """Return (A,) float64: `target` clamped to what `dt_s` of top speed allows from `last`, (A,)."""
        reach = self.max_velocity * max(dt_s, 0.0)
        reached: Positions = clamp(target, last - reach, last + reach)
        return reached
