"""The action at a moment of a bag: from the commands, the policy's chunks, or the robot's motion."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, get_args

import numpy as np

from vla_ros.core.errors import ConfigError, MessageError
from vla_ros.core.execution.knots import Knots
from vla_ros.core.robot import RobotSpec
from vla_ros.core.streams.synchroniser import StreamBuffer
from vla_ros.core.types import NS_PER_S, ActionChunk, Vector
from vla_ros.ros.convert import command_to_array, joint_state_to_array, to_ns, trajectory_to_chunk

ActionSource = Literal["command", "chunk", "state"]
CHUNK_TOPIC = "/action_chunk"
KEPT = 4096  # commands; at 1 kHz as long as any observation waits for its action
ALL = 2**62


class Commanded:
    """Finds the positions commanded at a moment. Single owner, no clock.

    source: command: the command in force, as sent by the commander (held until the next). chunk: the newest plan that
    covers the moment, before limits and smoothing. state: the measured positions at that moment, for robots whose
    commands are not on the bag.
    """

    def __init__(
        self, robot: RobotSpec, source: ActionSource, chunk_topic: str = CHUNK_TOPIC, kept: int = KEPT
    ) -> None:
        if source not in get_args(ActionSource):
            raise ConfigError(f"actions must be one of {', '.join(get_args(ActionSource))}, got '{source}'")
        if source == "command" and (blind := [o.topic for o, _ in robot.outputs if o.interface == "velocity"]):
            raise ConfigError(f"actions must be 'chunk' or 'state', got 'command': {blind[0]} carries velocities")
        self._robot, self._source, self._chunk_topic = robot, source, chunk_topic
        self._max_age_ns = round(robot.sync.max_age_s * NS_PER_S)
        self._outputs = {spec.topic: (columns, StreamBuffer[Vector](kept)) for spec, columns in robot.outputs}
        self._states: StreamBuffer[Vector] = StreamBuffer(kept)
        self._chunk: ActionChunk | None = None
        self.taken: Counter[str] = Counter()  # by topic
        self.refused = 0
        self.error = ""  # of the last refusal
        # A state is searched on both sides of the moment.
        self.patience_ns = round(robot.sync.tolerance_s * NS_PER_S) if source == "state" else 0

    @property
    def width(self) -> int:
        """D, the number of joints."""
        return len(self._robot.joints)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that the actions come from, besides the joint states."""
        return {"command": tuple(self._outputs), "chunk": (self._chunk_topic,), "state": ()}[self._source]

    def reason(self) -> str:
        """Return why no frame has an action."""
        wanted = self.topics or (self._robot.joint_states_topic,)
        if silent := [topic for topic in wanted if not self.taken[topic]]:
            if self.refused:
                return f"{self.refused} messages on {', '.join(silent)} were refused: {self.error}"
            other = {"command": "--actions chunk, or --actions state,", "chunk": "--actions state"}.get(self._source)
            return f"no {self._source} on {', '.join(silent)}" + (f"; {other} needs none" if other else "")
        return f"no {self._source} on {', '.join(wanted)} was in force one step after any observation"

    def take(self, topic: str, message: Any, now_ns: int) -> None:
        """Take a message received at `now_ns`: commands have no stamp and take effect on arrival."""
        try:
            if topic in self._outputs and self._source == "command":
                columns, stream = self._outputs[topic]
                names = [self._robot.joint_names[i] for i in columns]
                self.taken[topic] += stream.push(now_ns, _finite(command_to_array(message, names)))
            elif topic == self._chunk_topic and self._source == "chunk":
                self.taken[topic] += self._take_chunk(trajectory_to_chunk(message))
            elif topic == self._robot.joint_states_topic and self._source == "state":
                positions = joint_state_to_array(message, self._robot.joint_names)
                self.taken[topic] += self._states.push(to_ns(message.header.stamp), _finite(positions))
        except MessageError as error:
            self.refused, self.error = self.refused + 1, str(error)

    def _take_chunk(self, chunk: ActionChunk) -> bool:
        if chunk.names != self._robot.joint_names:
            raise MessageError(f"the chunk is for {', '.join(chunk.names)}, which are not the joints of the contract")
        _finite(chunk.actions)
        newer = self._chunk is None or chunk.stamp_ns > self._chunk.stamp_ns
        self._chunk = chunk if newer else self._chunk
        return newer

    def at(self, moment_ns: int) -> Vector | None:
        """Return the (D,) positions commanded at a moment; None if there were none."""
        if self._source == "chunk":
            covers = self._chunk is not None and self._chunk.stamp_ns <= moment_ns <= self._chunk.end_ns
            return Knots.of(self._chunk).at(moment_ns).astype(np.float32) if covers and self._chunk else None
        if self._source == "state":
            near = self._states.nearest(moment_ns)
            return near[1] if near and abs(near[0] - moment_ns) <= self.patience_ns else None
        action = np.zeros(len(self._robot.joints), dtype=np.float32)
        for columns, stream in self._outputs.values():
            before = stream.at_or_before(moment_ns)
            if before is None or not 0 <= moment_ns - before[0] <= self._max_age_ns:
                return None
            action[list(columns)] = before[1]
        return action


def _finite(values: Any) -> Vector:
    if not np.isfinite(values).all():
        raise MessageError("the numbers are not finite")
    return np.asarray(values, dtype=np.float32)
