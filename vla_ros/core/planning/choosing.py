"""Imagine before acting: what the world model expects of several candidate chunks, and which of them is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points

import numpy as np

from vla_ros.core.abilities import ImaginingPolicy
from vla_ros.core.errors import ConfigError, VlaRosError
from vla_ros.core.robot import RobotSpec
from vla_ros.core.text import name_of
from vla_ros.core.types import ActionChunk, Observation, Prediction


class Vetoed(VlaRosError):
    """No candidate may be sent: the robot goes on with its plan, and holds when that ends."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk, what it was planned from, and what the model imagines of it, in latents."""

    robot: RobotSpec
    observation: Observation
    chunk: ActionChunk
    prediction: Prediction


Scorer = Callable[[Candidate], float]  # the lower the better


def spread(candidate: Candidate) -> float:
    """Return how much the imagined samples disagree: the variance of their latents, over all cameras and frames."""
    parts = [samples.var(axis=0, ddof=1).mean() for samples in candidate.prediction.latents.values()]
    return float(np.mean(parts))


def limits(candidate: Candidate) -> float:
    """Return how near any joint but a gripper is to a position limit: 0 in the middle of its range, 1 at an end."""
    found = [0.0]
    for joint in candidate.robot.joints:
        if joint.name in candidate.chunk.names and joint.kind in ("revolute", "prismatic"):
            values = candidate.chunk.actions[:, candidate.chunk.names.index(joint.name)]
            middle, half = (joint.lower + joint.upper) / 2, (joint.upper - joint.lower) / 2
            found.append(float(np.abs(values - middle).max()) / half)
    return max(found)


GROUP = "vla_ros.scorers"  # of entry points: name = "package.module:function", a `Scorer`
SCORERS: dict[str, Scorer] = {"spread": spread, "limits": limits}


def scorer_of(name: str) -> Scorer:
    """Return a scorer by name: one of ours, or one that an installed package offers as an entry point of `GROUP`.

    Nothing else: whoever may set a parameter must not choose what code runs.
    """
    if name in SCORERS:
        return SCORERS[name]
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if name not in installed:
        there = ", ".join(sorted({*SCORERS, *installed}))
        raise ConfigError(
            f"scorer '{name_of(name)}' is not installed; installed: {there}. Packages offer others as entry points of "
            f"the group {GROUP}"
        )
    try:
        found: Scorer = installed[name].load()
    except Exception as error:  # a stranger's code runs at import, and may raise anything
        raise ConfigError(f"scorer '{name}' of {installed[name].value} cannot be loaded: {error!r}") from None
    if not callable(found):
        raise ConfigError(f"scorer '{name}': {installed[name].value} is no function")
    return found


@dataclass(frozen=True, slots=True)
class Chooser:
    """Draws candidates, has them imagined and scored, and takes the best. veto_above: a score that may not be sent.

    samples: imagined futures of each candidate; two at least tell how far they disagree.
    """

    policy: ImaginingPolicy
    robot: RobotSpec
    scorer: Scorer
    candidates: int
    samples: int
    veto_above: float

    def choose(
        self, observation: Observation, first: ActionChunk, plan: ActionChunk | None = None, frozen_steps: int = 0
    ) -> ActionChunk:
        """Return the best of `first`, which the policy would send, and others like it.

        Raises Vetoed if even the best score is above the limit or NaN.
        """
        chunks = [first, *self.policy.propose(observation, self.candidates - 1, plan, frozen_steps)]
        scores = [self._score(observation, chunk) for chunk in chunks]
        best = int(np.argmin(np.where(np.isnan(scores), np.inf, scores)))
        if not scores[best] <= self.veto_above:
            raise Vetoed(f"the best of {len(chunks)} chunks scores {scores[best]:.3g}, above {self.veto_above:g}")
        return chunks[best]

    def _score(self, observation: Observation, chunk: ActionChunk) -> float:
        prediction = self.policy.foresee(observation, chunk, self.samples)
        return self.scorer(Candidate(self.robot, observation, chunk, prediction))
