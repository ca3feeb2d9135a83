"""When to infer, what the new chunk continues, and which chunk is sent: the policy's half of executing chunks.

The policy node, the open-loop evaluation of bags and `vla-ros bench chunking` share it, so that a bag and a benchmark
see the plans of the live node.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vla_ros.core.abilities import Continues, HasExample, Policy
from vla_ros.core.contract import PolicyContract
from vla_ros.core.errors import ConfigError, ContractError, ModelError
from vla_ros.core.execution.modes import blend_of
from vla_ros.core.planning.choosing import Chooser
from vla_ros.core.planning.continuation import Continuation, Continuer, check_can_continue, continuation
from vla_ros.core.planning.replan_clock import ReplanClock
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import NS_PER_S, ActionChunk, Observation

REAL_TIME_CHUNKING = "real_time_chunking"


@dataclass(frozen=True, slots=True)
class Draft:
    """A chunk before anyone has chosen: the observation it answers and the plan it continues."""

    observation: Observation
    chunk: ActionChunk
    continued: Continuation


class Planner:
    """Plans for one robot. One owner, no clock, no threads of its own.

    execution: how the commander lets a new chunk take over; with `real_time_chunking` each chunk continues the last.
    execute_steps: actions to execute before the next chunk; 0 takes the contract's.
    chooser: draws and scores candidates, where given.
    name: the policy's name in refusals.

    Raises ConfigError for impossible steps, ContractError for a policy that cannot continue a plan.
    """

    def __init__(
        self,
        policy: Policy,
        robot: RobotSpec,
        execution: str = "receding_horizon",
        execute_steps: int = 0,
        chooser: Chooser | None = None,
        name: str = "the policy",
    ) -> None:
        contract = policy.contract
        steps = execute_steps or contract.execute_steps
        if steps > contract.horizon:
            raise ConfigError(f"execute_steps must be 1 to the model's horizon, {contract.horizon}, got {steps}")
        blend_of(execution)  # refuses what the commander would refuse
        self.policy, self._steps, self._chooser = policy, steps, chooser
        timeout_ns = round(robot.guard.plan_timeout_s * NS_PER_S)
        self._clock = ReplanClock(steps, contract.horizon, contract.step_ns, timeout_ns)
        self._continuer: Continuer | None = None
        if execution == REAL_TIME_CHUNKING:
            check_can_continue(policy, name)
            self._continuer = Continuer(steps, contract.horizon, ~robot.is_gripper, robot.guard.max_jump / 2)
        self._instruction = ""

    def warm_up(self) -> None:
        """Plan from a blank observation: the first real chunk must not pay for what torch does only once."""
        contract = self.policy.contract
        blank = blank_observation(contract, self.policy.example if isinstance(self.policy, HasExample) else "warm up")
        chunk = _finite(self.policy.infer(blank))
        if isinstance(self.policy, Continues) and self._continuer is not None and self._steps < contract.horizon:
            later = replace(blank, stamp_ns=self._steps * contract.step_ns)
            plan = continuation(chunk, later.stamp_ns, contract.step_ns).plan
            if plan is not None:
                _finite(self.policy.continue_plan(later, plan, 1))
        self.policy.reset()

    @property
    def delay_ns(self) -> int:
        """The delay to plan for, from an observation's stamp until its chunk is sent [ns]."""
        return self._clock.delay_ns

    def is_due(self, stamp_ns: int) -> bool:
        """Tell whether the observation of `stamp_ns` should be planned from."""
        return self._clock.is_due(stamp_ns)

    def plan(self, observation: Observation) -> ActionChunk:
        """Return the chunk to send. Raises ModelError if it is not finite, and whatever the policy raises."""
        return self.choose(self.draft(observation))

    def draft(self, observation: Observation) -> Draft:
        """Infer one chunk, as the continuation of the last one where the execution asks for that."""
        if observation.instruction != self._instruction:
            self.policy.reset()
            self._instruction = observation.instruction
        continued = self._continued(observation)
        return Draft(observation, self._infer(observation, continued), continued)

    def choose(self, draft: Draft) -> ActionChunk:
        """Return the draft's chunk, or the best of several. Raises Vetoed if none may be sent."""
        chunk, left = draft.chunk, draft.continued
        if self._chooser is not None:
            chunk = self._chooser.choose(draft.observation, chunk, left.plan, left.frozen_steps)
        return _finite(chunk)

    def sent(self, chunk: ActionChunk, observation: Observation, sent_ns: int) -> None:
        """Note that `chunk`, planned from `observation`, was sent at `sent_ns` [ns]."""
        if self._continuer is not None:
            self._continuer.sent(chunk, observation.instruction)
        self._clock.planned(observation.stamp_ns, sent_ns)

    def replan(self) -> None:
        """Make the next observation due; measured delays and the last chunk stay."""
        self._clock.reset()

    def reset(self) -> None:
        """Begin anew: a new episode, or a clock that jumped."""
        self._clock.reset()
        if self._continuer is not None:
            self._continuer.reset()

    def _continued(self, observation: Observation) -> Continuation:
        if self._continuer is None:
            return Continuation()
        try:
            return self._continuer.next(observation, self._clock.delay_ns)
        except ContractError:  # too slow of late; a policy that is always too slow will say so again
            self._continuer.reset()
            self._clock.forget_delays()
            raise

    def _infer(self, observation: Observation, continued: Continuation) -> ActionChunk:
        if continued.plan is not None and isinstance(self.policy, Continues):
            return self.policy.continue_plan(observation, continued.plan, continued.frozen_steps)
        return self.policy.infer(observation)


def blank_observation(contract: PolicyContract, sentence: str) -> Observation:
    """Return a black, motionless observation that fits `contract`."""
    images = {c.name: np.zeros((contract.history, c.height, c.width, 3), dtype=np.uint8) for c in contract.cameras}
    return Observation(0, images, np.zeros((contract.history, len(contract.joints)), dtype=np.float32), sentence)


def _finite(chunk: ActionChunk) -> ActionChunk:
    if not np.isfinite(chunk.actions).all():
        raise ModelError("the policy's chunk holds values that are not finite; it was not sent")
    return chunk
