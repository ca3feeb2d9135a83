"""Recorded commands as plans, which a commander follows within every limit; none is sent again as it was.

A recording is judged as a whole before anything moves: it comes from a file, which may have been made anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.errors import ConfigError
from vla_ros.core.execution.limits import Positions
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import NS_PER_S, ActionChunk

STEP_S, AHEAD_S = 0.02, 1.0  # of the plans
_GAP_S = 0.2  # what is further apart is held, and not connected by a line
_WINDOW_S = 0.5  # over which the mean speed is judged
_SLACK_S = 0.05  # by how much the times of reception may differ from those of sending


@dataclass(frozen=True, slots=True)
class CommandStream:
    """What was sent on one topic.

    columns: the C joints of the contract that it commands. times_ns: (N,) int64, rising. values: (N, C) positions.
    """

    topic: str
    columns: tuple[int, ...]
    times_ns: NDArray[np.int64]
    values: Positions

    def at(self, moments_ns: NDArray[np.int64]) -> Positions:
        """Return (M, C) what was in force at (M,) moments; its first command before it, its last one after it."""
        before = np.clip(np.searchsorted(self.times_ns, moments_ns, side="right") - 1, 0, None)
        after = np.minimum(before + 1, len(self.times_ns) - 1)
        gap_ns = self.times_ns[after] - self.times_ns[before]
        lies = (moments_ns - self.times_ns[before]) / np.maximum(gap_ns, 1)
        share = np.where(gap_ns <= _GAP_S * NS_PER_S, np.clip(lies, 0.0, 1.0), 0.0)[:, None]
        found: Positions = self.values[before] * (1 - share) + self.values[after] * share
        return found


class RecordedMotion:
    """The commands of a recording for every joint of a robot.

    Raises ConfigError where an output of the robot has none, or wants velocities: whoever starts those elsewhere ends
    elsewhere, by any distance.
    """

    def __init__(self, robot: RobotSpec, streams: Sequence[CommandStream]) -> None:
        for output, _ in robot.outputs:
            if output.interface == "velocity":
                raise ConfigError(f"{output.topic} carries velocities; recorded velocities are not replayed")
        commanded = {column for stream in streams if len(stream.times_ns) for column in stream.columns}
        if missing := [name for k, name in enumerate(robot.joint_names) if k not in commanded]:
            raise ConfigError(f"the recording holds no commands for {', '.join(missing)}")
        self._robot, self._streams = robot, tuple(streams)
        self.start_ns = min(int(stream.times_ns[0]) for stream in streams)
        self.end_ns = max(int(stream.times_ns[-1]) for stream in streams)

    def at(self, moment_ns: int) -> Positions:
        """Return (A,) the positions commanded at a moment of the recording."""
        (found,) = self._at(np.array([moment_ns], dtype=np.int64))
        return np.asarray(found)

    def plan(self, moment_ns: int, now_ns: int, rate: float) -> ActionChunk:
        """Return what was commanded from a recorded moment on as a plan for now. rate: recorded time per our time."""
        ahead_ns = np.arange(1, round(AHEAD_S / STEP_S) + 1) * round(STEP_S * NS_PER_S)
        actions = self._at(moment_ns + np.round(ahead_ns * rate).astype(np.int64)).astype(np.float32)
        step_ns = int(ahead_ns[0])
        return ActionChunk(now_ns, now_ns + step_ns, step_ns, actions, self._robot.joint_names)

    def problem(self, rate: float) -> str:
        """Return what forbids replaying it: topic, time since the start, joint; empty if nothing does."""
        return next((found for stream in self._streams for found in self._problems(stream, rate)), "")

    def _at(self, moments_ns: NDArray[np.int64]) -> Positions:
        found = np.zeros((len(moments_ns), len(self._robot.joints)))
        for stream in self._streams:
            found[:, list(stream.columns)] = stream.at(moments_ns)
        return found

    def _problems(self, stream: CommandStream, rate: float) -> Iterator[str]:
        columns, robot = list(stream.columns), self._robot
        broken = ~np.isfinite(stream.values)
        if broken.any():
            yield self._said(stream, broken, "is not finite")
            return
        tolerance = robot.guard.limit_tolerance
        lower, upper = robot.limits("lower")[columns] - tolerance, robot.limits("upper")[columns] + tolerance
        outside = (stream.values < lower) | (stream.values > upper)
        if outside.any():
            yield self._said(stream, outside, "is outside its limits")
        arm = ~robot.is_gripper[columns]  # a gripper may be told to open at once; it goes there as fast as it may
        for window_s in (0.0, _WINDOW_S):
            fast = self._too_fast(stream, window_s, rate) & arm
            if fast.any():
                yield self._said(stream, fast, f"is faster than it may be (rate {rate:g})")

    def _too_fast(self, stream: CommandStream, window_s: float, rate: float) -> NDArray[np.bool_]:
        """Return (N, C) whether a joint goes further than it can from a command to the next, or in a window of time."""
        times, count = stream.times_ns, len(stream.times_ns)
        later = (
            np.searchsorted(times, times + round(window_s * NS_PER_S), side="right")
            if window_s
            else np.arange(count) + 1
        )
        later = np.minimum(later, count - 1)
        elapsed_s = (times[later] - times) / NS_PER_S
        if not window_s:
            elapsed_s = np.minimum(elapsed_s, _GAP_S)  # after a pause no joint may be elsewhere at once
        top = self._robot.limits("max_velocity")[list(stream.columns)]
        reach = top * (elapsed_s / rate + _SLACK_S)[:, None]
        fast: NDArray[np.bool_] = np.abs(stream.values[later] - stream.values) > reach
        return fast

    def _said(self, stream: CommandStream, wrong: NDArray[np.bool_], what: str) -> str:
        """Describe the first value that is wrong."""
        row = int(wrong.any(axis=1).argmax())
        column = int(wrong[row].argmax())
        at_s = (int(stream.times_ns[row]) - self.start_ns) / NS_PER_S
        name, value = self._robot.joint_names[stream.columns[column]], stream.values[row, column]
        return f"{stream.topic} at {at_s:.3f} s: {name} {what} ({value:g})"
