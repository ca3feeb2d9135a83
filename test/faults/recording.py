"""The stream of commands as a robot's driver sees it: when it stood still after a fault, and which limits it broke."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.robot import RobotSpec

STILL = 1e-6  # a command that differs by less [rad] is the same command
HOLD_TAKES_S = 0.06  # some control periods, which may come late


@dataclass(frozen=True, slots=True)
class Sent:
    """One command. sent_s: when it was published, by the wall clock; stamp_ns: by the clock of its sender."""

    sent_s: float
    stamp_ns: int
    number: int
    position: NDArray[np.float64]


@dataclass
class Recording:
    """Every command since `begin()`, and what can be said about them. Times are wall clock [s]."""

    robot: RobotSpec
    _sent: list[Sent] = field(default_factory=list)
    _from_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Forget what was sent so far, also what is still on its way."""
        with self._lock:
            self._from_s = time.time()
            self._sent.clear()

    def add(self, sent: Sent) -> None:
        """A command came."""
        with self._lock:
            if sent.sent_s >= self._from_s:
                self._sent.append(sent)

    def since(self, start_s: float = 0.0) -> list[Sent]:
        """What was sent since then."""
        with self._lock:
            return [sent for sent in self._sent if sent.sent_s >= start_s]

    def positions(self, start_s: float = 0.0) -> NDArray[np.float64]:
        """(N, A) what was commanded since then."""
        return np.array([sent.position for sent in self.since(start_s)]).reshape(-1, len(self.robot.joints))

    def travel(self, start_s: float = 0.0) -> float:
        """The widest way of any arm joint since then [rad]."""
        positions = self.positions(start_s)[:, ~self.robot.is_gripper]
        return float(np.ptp(positions, axis=0).max()) if len(positions) else 0.0

    def last_change_s(self) -> float:
        """When the command changed last; 0 where it never did."""
        sent = self.since()
        changes = [new.sent_s for old, new in pairwise(sent) if np.abs(new.position - old.position).max() > STILL]
        return changes[-1] if changes else 0.0

    def time_to_hold_s(self, fault_s: float) -> float:
        """From the fault to the last change of the command; 0 where it changed no more. Ask when it stands still."""
        return max(self.last_change_s() - fault_s, 0.0)

    def violations(self, held_s: float | None = None, hold_takes_s: float = HOLD_TAKES_S) -> list[str]:
        """Which commands were not finite, left the position limits, or went or sped up faster than the robot may.

        held_s: where a fault was, the end of its hold: that one step is bounded in speed alone. It lasts for
            `hold_takes_s` before, as long as the way back to where the arm is takes at top speed.
        """
        sent = self.since()
        found = [f"not finite at {one.sent_s:.3f}" for one in sent if not np.isfinite(one.position).all()]
        lower, upper = self.robot.limits("lower"), self.robot.limits("upper")
        for one in sent:
            if (one.position < lower - STILL).any() or (one.position > upper + STILL).any():
                found.append(f"outside the limits at {one.sent_s:.3f}")
        return found + self._too_fast(sent, held_s, hold_takes_s)

    def _too_fast(self, sent: list[Sent], held_s: float | None, hold_takes_s: float) -> list[str]:
        """A late command moves no further than a punctual one, so no step counts as longer than a control period."""
        period_s = 1 / self.robot.command.rate_hz
        max_velocity, max_acceleration = self.robot.limits("max_velocity"), self.robot.limits("max_acceleration")
        found: list[str] = []
        before: tuple[float, NDArray[np.float64]] | None = None
        for old, new in pairwise(sent):
            dt_s = min((new.stamp_ns - old.stamp_ns) / 1e9, period_s)
            if new.number != old.number + 1 or dt_s <= 0:  # one was lost, or the clock jumped: the step is unknown
                before = None
                continue
            velocity = (new.position - old.position) / dt_s
            if (np.abs(velocity) > max_velocity * (1 + 1e-6) + STILL).any():
                found.append(f"{_worst(velocity, max_velocity, self.robot)} rad/s at {new.sent_s:.3f}")
            near_hold = held_s is not None and -hold_takes_s < new.sent_s - held_s < HOLD_TAKES_S
            if before is not None and not near_hold:
                acceleration = (velocity - before[1]) / ((dt_s + before[0]) / 2)
                acceleration[self.robot.is_gripper] = 0.0  # they go as fast as they may
                if (np.abs(acceleration) > max_acceleration * 1.001 + 1e-3).any():
                    found.append(f"{_worst(acceleration, max_acceleration, self.robot)} rad/s^2 at {new.sent_s:.3f}")
            before = dt_s, velocity
        return found


def _worst(values: NDArray[np.float64], limits: NDArray[np.float64], robot: RobotSpec) -> str:
    worst = int((np.abs(values) / limits).argmax())
    return f"{robot.joint_names[worst]} {values[worst]:.2f} of {limits[worst]:g}"
