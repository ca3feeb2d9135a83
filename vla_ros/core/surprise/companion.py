"""A world model beside a robot: what it imagines of the newest plan, and what it makes of what came.

The world-model node, `vla-ros calibrate surprise` on bags and the surprise episodes of the simulator share it. It knows
no ROS and no clock of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from vla_ros.core.abilities import WorldModel
from vla_ros.core.robot import RobotSpec
from vla_ros.core.surprise.expectation import Expectation
from vla_ros.core.surprise.imagination import FORWARD, Imagination
from vla_ros.core.surprise.signs import Reading, Vector
from vla_ros.core.surprise.witness import Judged, Witness
from vla_ros.core.types import ActionChunk, Observation


class Companion:
    """One robot's. `see`, `command`, `follow` and `reset` belong to one thread, `look` to one, the rest to one.

    samples: futures drawn for each prediction. every_ns: least time between two predictions [ns].
    """

    def __init__(self, model: WorldModel, robot: RobotSpec, samples: int = 4, every_ns: int = 0) -> None:
        self.samples, self.every_ns = samples, every_ns
        self._model = model
        self._witness = Witness(model, robot, model.contract.step_ns)
        self._imagination = Imagination()
        self._started_ns: int | None = None
        self._era = 0  # how often all began anew; what is imagined across such a moment is of no use

    @property
    def last(self) -> Expectation | None:
        """The newest expectation."""
        return self._imagination.last

    @property
    def newest(self) -> Observation | None:
        """The newest observation."""
        return self._witness.recent.newest

    def reset(self) -> None:
        """Forget the past: a new episode, or a clock that jumped."""
        self._era += 1
        self._witness.reset()
        self._imagination.plan(None)

    def see(self, observation: Observation) -> None:
        """Keep an observation."""
        self._witness.see(observation)

    def look(self, observation: Observation) -> Reading:
        """Read the signs of an observation that was seen; about 10 ms."""
        era = self._era
        reading = self._witness.look(observation)
        if era == self._era:
            return reading
        self._witness.forget_looks()  # a reset came meanwhile: this picture is of before it
        return {}

    def command(self, now_ns: int, values: Vector, columns: Sequence[int] | None = None) -> None:
        """Note that joints are commanded to `values` from now on; `columns` if they are not all joints."""
        self._witness.command(now_ns, values, columns)

    def follow(self, chunk: ActionChunk | None) -> None:
        """Note the plan that the robot follows from now on; None if it is unknown."""
        self._imagination.plan(chunk if chunk is None else chunk.in_order(self._model.contract.joints))

    def judge(self) -> list[Judged]:
        """Return what earlier expectations tell whose frames have come since."""
        era, found = self._era, self._witness.judge()
        return found if era == self._era else []

    def imagine_if_due(
        self, now_ns: int, mode: str = FORWARD, *, at_ns: int | None = None, at_once: bool = False
    ) -> Expectation | None:
        """Imagine what comes of the newest plan, if there is one and `every_ns` has passed.

        at_ns: the time by which predictions are spaced, if it is not `now_ns`. at_once: whatever has passed.
        Returns None if nothing is due, nothing new is known, or all began anew meanwhile.
        """
        at_ns = now_ns if at_ns is None else at_ns
        if not at_once and self._started_ns is not None and at_ns - self._started_ns < self.every_ns:
            return None
        era = self._era
        question = self._imagination.question(mode, self._witness.recent, now_ns)
        if question is None:
            return None
        self._started_ns = at_ns
        return self._imagine(era, *question)

    def _imagine(self, era: int, observation: Observation, chunk: ActionChunk | None) -> Expectation | None:
        prediction = self._model.show(self._model.foresee(observation, chunk, self.samples))
        if era != self._era:
            return None
        expectation = self._imagination.last = Expectation(observation, prediction, chunk)
        self._witness.expect(expectation)
        if era != self._era:  # a reset came while it was encoded
            self._witness.forget_expectations()
            return None
        return expectation
