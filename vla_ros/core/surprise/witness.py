"""Sees what was commanded, expected and seen, and reads the signs from it. Knows no clock and no ROS."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.abilities import WorldModel
from vla_ros.core.robot import RobotSpec
from vla_ros.core.streams.buffer import StreamBuffer
from vla_ros.core.surprise.expectation import Expectation, Recent, what_came
from vla_ros.core.surprise.novelty import came_and_went, picture_of
from vla_ros.core.surprise.signs import (
    Map,
    Reading,
    Stillness,
    Vector,
    appearance,
    inverse_error,
    outside,
    picture_signs,
)
from vla_ros.core.types import NS_PER_S, Observation

KEPT, WAITING = 64, 8  # observations, and expectations whose moment has not come
COMMANDS = 1024  # at 500 Hz two seconds: as long as a prediction looks ahead
ARM_SLACK_S, GRIPPER_SLACK_S = 0.05, 0.2  # a servo may lag behind its command by this much; fingers do not stop at once
OVERLAP = 2  # predictions that speak of the same moment
MAX_GAP = 1.5  # steps; between pictures farther apart things move too far
SILENT_S = 0.5  # after so long without a command nothing is expected of the joints


@dataclass(frozen=True, slots=True)
class Judged:
    """What one expectation has told so far. came: all of its frames; None while only the first has come."""

    expectation: Expectation
    reading: Reading
    came: Observation | None = None


@dataclass(frozen=True, slots=True)
class _Imagined:
    """The first frame (3, h, w) of each camera that a prediction shows, and when it is due."""

    due_ns: int
    pictures: dict[str, Map]


@dataclass(slots=True)
class _Waiting:
    """An expectation, and the latents (C, h, w) of each camera when it was made."""

    expectation: Expectation
    now: dict[str, Map]
    first_came: bool = False


class Witness:
    """One robot's. Three threads may share it: `command`, `see` and `reset` in one, `look` in one, `expect` and `judge`
    in one. A `reset` while another looks leaves at most one picture of before it behind.
    """

    def __init__(self, model: WorldModel, robot: RobotSpec, step_ns: int) -> None:
        self._model, self._step_ns = model, step_ns
        self._gripper = robot.is_gripper
        # (D,) what 1 is in the signs of joints: rad or m of the arm; of a gripper its stroke, whatever its unit is.
        self._unit = np.where(self._gripper, robot.limits("upper") - robot.limits("lower"), 1.0)
        self._commands: StreamBuffer[Vector] = StreamBuffer(COMMANDS)
        self.recent = Recent(KEPT, step_ns // 2)
        self.reset()

    def reset(self) -> None:
        """Forget the past: a new episode, or a clock that jumped."""
        self.recent.clear()
        self._commands.clear()
        self._target = np.full(len(self._gripper), np.nan)
        self._waiting: deque[_Waiting] = deque(maxlen=WAITING)
        self._imagined: tuple[_Imagined, ...] = ()
        self.forget_looks()

    def forget_expectations(self) -> None:
        """Forget what was expected and imagined."""
        self._waiting.clear()
        self._imagined = ()

    def forget_looks(self) -> None:
        """Forget the pictures looked at last."""
        self._last: dict[str, tuple[int, Map]] = {}
        self._still: dict[str, Stillness] = {}

    def command(self, now_ns: int, values: Vector, columns: Sequence[int] | None = None) -> None:
        """Note that joints are commanded to `values` from now on; `columns` if they are not all joints."""
        self._target = self._target.copy()
        self._target[slice(None) if columns is None else list(columns)] = values
        if np.isfinite(self._target).all():
            self._commands.push(now_ns, self._target)

    def observe(self, observation: Observation) -> Reading:
        """Keep an observation and look at it."""
        self.see(observation)
        return self.look(observation)

    def see(self, observation: Observation) -> None:
        """Keep an observation."""
        self.recent.add(observation)

    def look(self, observation: Observation) -> Reading:
        """Read the signs of what was seen last: are the pictures alive, do the joints follow? About 10 ms."""
        measured = observation.state[-1].astype(np.float64) / self._unit
        found: dict[str, Vector] = {}
        for camera, frames in observation.images.items():
            still = self._still.setdefault(camera, Stillness())
            found |= self._novel(camera, frames[-1], observation.stamp_ns)
            found[f"{camera} still"] = np.array([still.add(frames[-1], observation.state[-1][~self._gripper])])
        for name, joints, slack_s in (
            ("arm", ~self._gripper, ARM_SLACK_S),
            ("gripper", self._gripper, GRIPPER_SLACK_S),
        ):
            commands = self._between(observation.stamp_ns - round(slack_s * NS_PER_S), observation.stamp_ns)
            if commands is not None and joints.any():
                found[f"{name} follows"] = outside(measured[joints], (commands / self._unit)[:, joints])
        return found

    def expect(self, expectation: Expectation) -> None:
        """Judge this one when its moments come."""
        seen, latents = expectation.observation, expectation.prediction.latents
        now = {camera: self._model.latents(seen.images[camera][-1:])[0] for camera in latents}
        self._waiting.append(_Waiting(expectation, now))
        pictures = {camera: picture_of(frames[0]) for camera, frames in expectation.prediction.images.items()}
        self._imagined = (*self._imagined[1 - OVERLAP :], _Imagined(int(expectation.due_ns[0]), pictures))

    def judge(self) -> list[Judged]:
        """Return what the expectations tell whose first or last frame has come since. A lost frame ends one."""
        found = []
        for item in list(self._waiting):
            expectation, newest = item.expectation, self.recent.newest
            first = self.recent.at(int(expectation.due_ns[0]))
            if not item.first_came and first is not None:
                item.first_came = True
                found.append(Judged(expectation, self._pictures(item, first)))
            came = what_came(expectation, self.recent)
            if came is not None:
                found.append(Judged(expectation, self._inverse(expectation, came), came))
            if came is not None or (newest is not None and newest.stamp_ns > expectation.due_ns[-1] + self._step_ns):
                self._drop(item)
        return found

    def _drop(self, item: _Waiting) -> None:
        with contextlib.suppress(ValueError):  # `reset` was first
            self._waiting.remove(item)

    def _novel(self, camera: str, frame: NDArray[np.uint8], stamp_ns: int) -> Reading:
        """Return what came and went since the picture of a step ago, if the present was imagined."""
        now, last = picture_of(frame), self._last.get(camera)
        self._last[camera] = (stamp_ns, now)
        imagined = [i.pictures[camera] for i in self._imagined if camera in i.pictures and stamp_ns <= i.due_ns]
        if last is None or not imagined or not 0 < stamp_ns - last[0] <= MAX_GAP * self._step_ns:
            return {}
        came, went = came_and_went(now, last[1], imagined)
        return {f"{camera} came": np.array([came]), f"{camera} went": np.array([went])}

    def _pictures(self, item: _Waiting, came: Observation) -> Reading:
        """Judge the first frame only: later ones are imagined too vaguely to be wrong."""
        found: dict[str, Vector] = {}
        for camera, samples in item.expectation.prediction.latents.items():
            frame = came.images[camera][-1]
            found[f"{camera} seen"] = appearance(frame)
            signs = picture_signs(self._model.latents(frame[None])[0], samples[:, 0], item.now[camera])
            found[f"{camera} imagined"], found[f"{camera} whole"] = signs
        return found

    def _inverse(self, expectation: Expectation, came: Observation) -> Reading:
        """Compare the actions inferred from the pictures with those commanded at their moments."""
        found = [self._commands.at_or_before(int(due_ns)) for due_ns in expectation.due_ns]
        pairs = zip(found, expectation.due_ns.tolist(), strict=True)
        commands = [item[1] for item, due_ns in pairs if item and 0 <= due_ns - item[0] <= SILENT_S * NS_PER_S]
        if len(commands) < len(found):
            return {}
        chunk = self._model.explain(expectation.observation, came)
        inferred = chunk.actions[np.isin(chunk.due_ns, expectation.due_ns)]
        error = inverse_error(inferred.astype(np.float64), np.stack(commands)) / self._unit
        parts = (("arm", ~self._gripper), ("gripper", self._gripper))
        return {f"inverse {name}": error[joints] for name, joints in parts if joints.any()}

    def _between(self, start_ns: int, end_ns: int) -> Vector | None:
        """Return (N, D) the commands in force in a while; None if there was none, or not for long."""
        commands = self._commands.between(start_ns, end_ns)
        if not commands or end_ns - commands[-1][0] > SILENT_S * NS_PER_S or commands[0][0] > start_ns:
            return None
        return np.stack([values for _, values in commands])
