"""Real-time chunking on the policy's side: what of the plan a new chunk must continue (arXiv 2506.07339).

While a policy infers, the robot goes on with the plan. The actions that will be over when the chunk arrives are frozen:
the chunk must repeat them. The rest of the plan guides it, the less the further ahead. In the paper's letters: of a
horizon H, s steps are executed between the starts of two inferences, d of them during an inference; d <= s <= H - d.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.abilities import Continues, Policy
from vla_ros.core.errors import ContractError
from vla_ros.core.execution.knots import Knots
from vla_ros.core.types import ActionChunk, Observation


@dataclass(frozen=True, slots=True)
class Continuation:
    """What `Continues.continue_plan` is given.

    plan: (H - s, A) what is left of the plan, `plan.actions[i]` due together with action i of the chunk to be inferred;
        None where nothing is left to continue.
    frozen_steps: how many of these the chunk must repeat.
    """

    plan: ActionChunk | None = None
    frozen_steps: int = 0


def continuation(last: ActionChunk | None, stamp_ns: int, delay_ns: int) -> Continuation:
    """Return what a chunk that answers the observation of `stamp_ns` continues.

    last: the chunk published last. delay_ns: from a chunk's stamp until it is executed, as measured. Where the plan is
    shorter than the delay all of it is frozen, and the robot waits at its end (see `execute_steps`).
    """
    if last is None or stamp_ns <= last.stamp_ns:
        return Continuation()
    offset_ns = last.start_ns - last.stamp_ns
    due_ns = np.arange(stamp_ns + offset_ns, last.end_ns + 1, last.step_ns, dtype=np.int64)
    if not len(due_ns):
        return Continuation()
    actions = Knots.of(last).all_at(due_ns).astype(np.float32)
    plan = ActionChunk(stamp_ns, int(due_ns[0]), last.step_ns, actions, last.names)
    return Continuation(plan, min(delay_steps(delay_ns, last.step_ns), len(due_ns)))


class Continuer:
    """Remembers the chunk sent last, and what the next one continues of it. One owner, no clock of its own.

    execute_steps, horizon: of the policy's contract. near: where the robot is further from the plan than this (any of
    the joints `arm` (D,) bool, in their unit), it is not executing it, and the next chunk starts afresh.
    """

    def __init__(self, execute_steps: int, horizon: int, arm: NDArray[np.bool_], near: float) -> None:
        self._execute_steps, self._horizon, self._arm, self._near = execute_steps, horizon, arm, near
        self.reset()

    def reset(self) -> None:
        """Forget the plan."""
        self._last: ActionChunk | None = None
        self._instruction = ""

    def sent(self, chunk: ActionChunk, instruction: str) -> None:
        """Note that a chunk that obeys `instruction` was sent."""
        self._last, self._instruction = chunk, instruction

    def next(self, observation: Observation, delay_ns: int) -> Continuation:
        """Return what the chunk that answers `observation` continues; ContractError if inference takes too long for it.

        Under another instruction only what will be over anyway: nothing draws the chunk towards the old plan.
        """
        last, stamp_ns = self._last, observation.stamp_ns
        if last is None or not self._is_executed(last, observation):
            return Continuation()
        execute_steps(self._execute_steps, delay_steps(delay_ns, last.step_ns), self._horizon)
        found = continuation(last, stamp_ns, delay_ns)
        if found.plan is None or observation.instruction == self._instruction:
            return found
        if not found.frozen_steps:
            return Continuation()
        return replace(found, plan=replace(found.plan, actions=found.plan.actions[: found.frozen_steps]))

    def _is_executed(self, last: ActionChunk, observation: Observation) -> bool:
        planned = Knots.of(last).at(observation.stamp_ns)
        return bool((np.abs(planned - observation.state[-1])[self._arm] <= self._near).all())


def delay_steps(delay_ns: int, step_ns: int) -> int:
    """Return d, the steps that begin before a chunk arrives.

    A step begun counts: its line ends at an action of the plan.
    """
    return -(-max(delay_ns, 0) // step_ns)


def execute_steps(wanted: int, delay: int, horizon: int) -> int:
    """Return s, the steps between two inferences nearest to `wanted` with d <= s <= H - d; else ContractError."""
    if 2 * delay > horizon:
        raise ContractError(
            f"real-time chunking: an inference must last at most {horizon // 2} of {horizon} steps, got {delay}, or "
            "the plan ends before the next chunk; use a faster model or a longer horizon"
        )
    return min(max(wanted, delay, 1), max(horizon - delay, 1))


def check_can_continue(policy: Policy, name: str) -> None:
    """Raise ContractError for a policy that cannot plan a chunk as the continuation of another."""
    if not isinstance(policy, Continues):
        raise ContractError(
            f"execution 'real_time_chunking': the policy '{name}' cannot continue a plan; choose another "
            "execution, or a policy that can (core.abilities.Continues)"
        )
