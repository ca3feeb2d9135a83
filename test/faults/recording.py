"""The stream of commands as a robot's driver sees it: when it stood still after a fault, and which limits it broke.

Every limit holds at every moment, through every stop. The differences of three or four commands are weighted means of
the acceleration and jerk between them, however the commands are spaced; so no slack is needed but for rounding.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.kinematics.chain import Workspace
from vla_ros.core.robot import RobotSpec

STILL = 1e-6  # a command that differs by less [rad] is the same command
ROUNDING = 1e-3  # of a limit


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

    def __post_init__(self) -> None:
        space = self.robot.workspace
        self._workspace = Workspace(space, self.robot.joint_names) if space is not None else None

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

    def violations(self) -> list[str]:
        """Which commands were not finite, left the joints' limits or the workspace, or were faster, sped up faster or
        jerked more than the robot may."""
        sent = self.since()
        found = [f"not finite at {one.sent_s:.3f}" for one in sent if not np.isfinite(one.position).all()]
        lower, upper = self.robot.limits("lower"), self.robot.limits("upper")
        for one in sent:
            if (one.position < lower - STILL).any() or (one.position > upper + STILL).any():
                found.append(f"outside the limits at {one.sent_s:.3f}")
            if self._workspace is not None and (outside := self._workspace.outside(one.position)):
                found.append(f"{outside} at {one.sent_s:.3f}")
        return found + self._too_fast(sent)

    def _too_fast(self, sent: list[Sent]) -> list[str]:
        """A late command moves no further than a punctual one, so no step counts as longer than a control period."""
        period_s = 1 / self.robot.command.rate_hz
        found: list[str] = []
        steps: list[float] = []
        rates: list[NDArray[np.float64]] = []  # velocity, acceleration and jerk, as many as are known
        for old, new in pairwise(sent):
            dt_s = min((new.stamp_ns - old.stamp_ns) / 1e9, period_s)
            moved = np.abs(new.position - old.position).max() > STILL
            if new.number == old.number + 1 and new.stamp_ns == old.stamp_ns and not moved:
                continue  # the same command, for the same moment
            if new.number != old.number + 1 or dt_s <= 0:  # one was lost, or the clock jumped: the step is unknown
                steps, rates = [], []
                continue
            steps = [*steps[-2:], dt_s]
            before, rates = rates, [(new.position - old.position) / dt_s]
            for order, rate in enumerate(before[: len(steps) - 1], 2):
                rates.append((rates[-1] - rate) / (sum(steps[-order:]) / order))
            found += self._beyond(rates[:3], new.sent_s)
        return found

    def _beyond(self, rates: list[NDArray[np.float64]], sent_s: float) -> list[str]:
        found = []
        for rate, quantity in zip(rates, ("max_velocity", "max_acceleration", "max_jerk"), strict=False):
            limit = self.robot.limits(quantity)  # type: ignore[arg-type]
            counted = ~self.robot.is_gripper if quantity != "max_velocity" else np.ones(len(limit), np.bool_)
            if (np.abs(rate) > limit * (1 + ROUNDING) + STILL)[counted].any():
                found.append(f"{quantity} of {_worst(rate * counted, limit, self.robot)} at {sent_s:.3f}")
        return found


def _worst(values: NDArray[np.float64], limits: NDArray[np.float64], robot: RobotSpec) -> str:
    worst = int((np.abs(values) / limits).argmax())
    return f"{robot.joint_names[worst]} {values[worst]:.2f} of {limits[worst]:g}"
