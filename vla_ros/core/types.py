"""What crosses the borders between rooms: an observation in, a chunk of actions out, a prediction beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.errors import ContractError
from vla_ros.core.text import listed

Frames = NDArray[np.uint8]  # (T, H, W, 3) RGB
Vector = NDArray[np.float32]

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Observation:
    """What the robot knew at one moment, synchronised.

    stamp_ns: the moment [ns]: the oldest of the newest stamps of its cameras.
    images: camera name -> (T, H, W, 3) uint8 RGB, oldest first.
    state: (T, D) float32, joints in the order and units of the robot's contract.
    instruction: the sentence in force; empty where none was given.
    """

    stamp_ns: int
    images: Mapping[str, Frames]
    state: Vector
    instruction: str

    def __post_init__(self) -> None:
        if self.state.ndim != 2:
            raise ContractError(f"observation state must have shape (T, D), got {self.state.shape}")
        history = self.state.shape[0]
        for name, frames in self.images.items():
            if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
                raise ContractError(
                    f"camera '{name}': frames must be uint8 (T, H, W, 3), got {frames.dtype} {frames.shape}"
                )
            if frames.shape[0] != history:
                raise ContractError(f"camera '{name}' has {frames.shape[0]} frames, the state has {history}")


@dataclass(frozen=True, slots=True)
class ActionChunk:
    """A plan with a time base: `actions[i]` is due at `start_ns + i * step_ns`.

    stamp_ns: the stamp of the observation that the plan answers; it orders chunks and carries latency.
    start_ns: when the first action is due [ns]; usually one step after `stamp_ns`.
    step_ns: time between actions [ns].
    actions: (H, A) float32, in the units of the robot's contract.
    names: the A joints, in the order of the columns.
    """

    stamp_ns: int
    start_ns: int
    step_ns: int
    actions: Vector
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or self.actions.shape[0] == 0 or self.actions.shape[1] != len(self.names):
            raise ContractError(
                f"chunk actions must have shape (H >= 1, {len(self.names)}), a column each of {listed(self.names)}, "
                f"got {self.actions.shape}"
            )
        if self.step_ns <= 0:
            raise ContractError(f"chunk step_ns must be > 0, got {self.step_ns}")
        if self.start_ns < self.stamp_ns:
            raise ContractError(f"chunk starts {self.stamp_ns - self.start_ns} ns before the observation it answers")

    def in_order(self, names: tuple[str, ...]) -> ActionChunk:
        """Return the same plan with its columns in the order of `names`; unchanged if it names other joints."""
        if self.names == names or sorted(self.names) != sorted(names):
            return self
        columns = [self.names.index(name) for name in names]
        return replace(self, actions=self.actions[:, columns], names=names)

    @property
    def end_ns(self) -> int:
        """When the last action is due [ns]."""
        return self.start_ns + (len(self.actions) - 1) * self.step_ns

    @property
    def due_ns(self) -> NDArray[np.int64]:
        """(H,) int64: when each action is due [ns]."""
        return self.start_ns + self.step_ns * np.arange(len(self.actions), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Frames that a world model expects.

    stamp_ns: the stamp of the observation it started from.
    due_ns: (F,) int64, the moments that the frames speak of [ns].
    images: camera name -> (F, H, W, 3) uint8 RGB.
    latents: camera name -> (K, F, C, h, w), every sample as the model has it; empty where it has none.
    """

    stamp_ns: int
    due_ns: NDArray[np.int64]
    images: Mapping[str, Frames]
    latents: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
