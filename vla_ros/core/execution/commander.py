"""Chunks and joint states in, one safe command a control period out: the plan and its guard together."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from vla_ros.core.execution.blending import Blend, receding_horizon
from vla_ros.core.execution.guard import Guard, Mode, Verdict
from vla_ros.core.execution.plan import Plan
from vla_ros.core.execution.turning import Turning
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import NS_PER_S, ActionChunk


@dataclass(frozen=True, slots=True)
class ChunkTiming:
    """One executed chunk: the stamp it answers [ns], when it arrived and when its first command left, since then."""

    stamp_ns: int
    chunk_ms: float
    first_command_ms: float


class Commander:
    """The whole of the commander but its topics. Not thread-safe: one owner calls everything."""

    def __init__(self, robot: RobotSpec, blend: Blend = receding_horizon) -> None:
        self.guard = Guard(robot)
        self.plan = Plan(blend)
        self.timing: ChunkTiming | None = None
        self._turning = Turning(robot)
        self._max_ahead_ns = round(robot.sync.max_ahead_s * NS_PER_S)
        self._plan_timeout_ns = round(robot.guard.plan_timeout_s * NS_PER_S)
        self._last_tick_ns: int | None = None
        self._arrival: tuple[int, int] | None = None

    def on_state(self, stamp_ns: int, positions: ArrayLike, now_ns: int) -> str | None:
        """Take (A,) measured positions. Returns why they were refused, or None. Any that are neither old nor from the
        future, and that the robot cannot have got to, stop an armed one.
        """
        return self.guard.measure(stamp_ns, positions, now_ns)

    def on_chunk(self, chunk: ActionChunk, now_ns: int) -> str | None:
        """Take a chunk. Returns why it is not executed, or None. A wrong one stops an armed robot; one that is fresh
        moves on an arm that waits for it.
        """
        if self.guard.mode is not Mode.ARMED:
            return f"the commander is in {self.guard.mode.value}"
        chunk = chunk.in_order(self.guard.limits.names)
        age_ns = now_ns - chunk.stamp_ns
        if age_ns < -self._max_ahead_ns:
            return f"its stamp lies {-age_ns / NS_PER_S:.2f} s in the future"
        if age_ns > self._plan_timeout_ns:
            return f"it answers an observation {age_ns / NS_PER_S:.2f} s old"
        if self.guard.believed is not None:
            chunk = self._turning.chunk(chunk, self.guard.believed, now_ns)
        refusal = self.plan.refusal(chunk, now_ns) or self.guard.check_plan(chunk, now_ns)
        if refusal:
            return refusal
        self.guard.follow(self.plan.execute(chunk, now_ns, self.guard.last_command), now_ns)
        self._arrival = chunk.stamp_ns, now_ns
        return None

    def tick(self, now_ns: int, periodic: bool = True) -> Verdict:
        """Return what to send now.

        Call once a control period, and with `periodic` false if something cannot wait for it.
        Sets `timing` when the first command of a chunk leaves.
        """
        if self._last_tick_ns is not None and self._last_tick_ns - now_ns > self._max_ahead_ns:
            self.clock_jumped()
        self._last_tick_ns = now_ns
        verdict = self.guard.check(self.plan.command(now_ns), self.plan.stamp_ns, now_ns, periodic)
        if self.guard.waiting:
            self.plan.clear()
        self.timing = None
        if verdict.mode is Mode.ARMED and self._arrival is not None:
            stamp_ns, arrived_ns = self._arrival
            self.timing = ChunkTiming(stamp_ns, (arrived_ns - stamp_ns) / 1e6, (now_ns - stamp_ns) / 1e6)
            self._arrival = None
        return verdict

    @property
    def at_rest(self) -> bool:
        """Whether nothing is in motion: after a stop, tick until it is before nothing more is sent."""
        return self.guard.at_rest

    def arm(self, now_ns: int) -> str | None:
        """Arm; motion starts with the first plan after it. Returns why not, or None."""
        if self.guard.mode is not Mode.ARMED:
            self.plan.clear()
            self._arrival = None
        return self.guard.arm(now_ns)

    def stop(self, reason: str = "stop requested") -> None:
        """Come to rest from the next tick on, until armed again."""
        self.guard.stop(reason)

    def disarm(self, reason: str = "disarmed") -> None:
        """Send nothing from the next tick on, until armed again."""
        self.plan.clear()
        self.guard.disarm(reason)

    def clock_jumped(self) -> None:
        """Stop, and judge stamps anew: the clock went back."""
        self.guard.clock_jumped()
        self.plan.reset()
