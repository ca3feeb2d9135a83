"""What a loaded model can do. Ask with `isinstance`, never with `hasattr`.

A model folder holds a `Policy`, or a model that only `Speaks`. Every other protocol here is an extra that a model may
have; whoever needs one asks for it by name and refuses models without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.contract import PolicyContract
from vla_ros.core.types import ActionChunk, Frames, Observation, Prediction


@runtime_checkable
class Policy(Protocol):
    """Turns an observation into a chunk of actions."""

    contract: PolicyContract

    def reset(self) -> None:
        """Forget the episode so far."""

    def infer(self, observation: Observation) -> ActionChunk:
        """Plan from `observation`. Raises ContractError or MessageError if it does not fit the contract."""


@runtime_checkable
class Continues(Protocol):
    """Plans a chunk as the continuation of the plan in execution: real-time chunking (arXiv 2506.07339)."""

    def continue_plan(self, observation: Observation, plan: ActionChunk, frozen_steps: int) -> ActionChunk:
        """Plan from `observation`, starting with the first `frozen_steps` actions of `plan`.

        plan: the plan in execution from the first action of the new chunk on, shorter than a chunk. Actions after the
            frozen ones guide the new chunk but may change. See `core.planning.continuation`.
        """


@runtime_checkable
class Proposes(Protocol):
    """Draws more than one chunk for an observation."""

    def propose(
        self, observation: Observation, count: int, plan: ActionChunk | None = None, frozen_steps: int = 0
    ) -> list[ActionChunk]:
        """Return `count` chunks beside the one of `infer`; `plan` and `frozen_steps` as in `Continues`."""


@runtime_checkable
class Imagines(Protocol):
    """Predicts what the cameras will show."""

    contract: PolicyContract

    def foresee(self, observation: Observation, chunk: ActionChunk | None = None, samples: int = 1) -> Prediction:
        """Predict in latents: p(o'|o) without a chunk (video prediction), p(o'|o,a) with one (forward dynamics)."""

    def show(self, prediction: Prediction) -> Prediction:
        """Decode the frames of a prediction."""

    def latents(self, frames: Frames) -> NDArray[np.float32]:
        """Encode (N, H, W, 3) uint8 frames as (N, C, h, w), in the space of a prediction's latents."""

    def breathe(self, between: Callable[[], None]) -> None:
        """Call `between` between the parts of every later answer, so that a slow answer can yield the processor."""


@runtime_checkable
class Explains(Protocol):
    """Infers which actions lead from one observation to another."""

    def explain(self, observation: Observation, future: Observation) -> ActionChunk:
        """Return the actions p(a|o,o') between `observation` and `future` (inverse dynamics)."""


@runtime_checkable
class Speaks(Protocol):
    """Answers questions about what the cameras show."""

    contract: PolicyContract

    def answer(self, observation: Observation, question: str, before: Observation | None = None) -> str:
        """Answer about the newest frames, or about what has changed since `before`; empty if there is no answer."""


@runtime_checkable
class HasExample(Protocol):
    """Understands only some sentences, and names one of them for a dry run."""

    example: str


class WorldModel(Imagines, Explains, Protocol):
    """What the companion needs of a model."""


class WorldPolicy(Policy, Imagines, Explains, Protocol):
    """A policy that is also a world model."""


class ImaginingPolicy(Policy, Proposes, Imagines, Protocol):
    """What choosing among imagined chunks needs of a policy."""


def is_world_model(model: object) -> bool:
    """Tell whether `model` has all that the companion asks for."""
    return isinstance(model, Imagines) and isinstance(model, Explains)
