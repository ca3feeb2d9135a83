"""A bag's messages as the frames that a policy would have seen live, one a control tick, with what was commanded next.

Every message goes through `ros.ingest`, the code of the live policy node, in the order and at the times at which it was
received; observations come from the same `Synchroniser`. So a frame here is, bit for bit, what the node would have had.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from vla_ros.bags.commanded import CHUNK_TOPIC, ActionSource, Commanded
from vla_ros.bags.marks import Span
from vla_ros.core.robot import RobotSpec
from vla_ros.core.streams import Synchroniser
from vla_ros.core.ticks import Ticker
from vla_ros.core.types import NS_PER_S, Observation, Vector
from vla_ros.ros.ingest import INSTRUCTION, JOINT_STATES, Ingest

Split = Literal["marks", "instruction"]


@dataclass(frozen=True, slots=True)
class Options:
    """How episodes are cut and labelled.

    step_s: time between frames [s]; the contract's `sync.history_step_s` by default.
    actions: where a frame's action comes from (`bags.commanded`). chunk_topic: where chunks are on the bag.
    split: where episodes begin: at the recorder's marks (a bag without any is one episode), or also at each sentence.
    only_successes: leave out marked episodes that were not marked as a success.
    min_frames: shorter pieces are left out.
    cameras: the cameras that matter; all of the robot's by default.
    """

    step_s: float | None = None
    actions: ActionSource = "command"
    chunk_topic: str = CHUNK_TOPIC
    split: Split = "marks"
    only_successes: bool = False
    min_frames: int = 2
    cameras: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """An observation and the action that followed it: (D,) the positions commanded one step after its stamp.

    episode: its number, rising; frames of one episode are one step apart. success: as marked; None where nobody said.
    """

    episode: int
    observation: Observation
    action: Vector
    success: bool | None = None


class EpisodeReader:
    """Takes messages in the order of their reception, gives frames in order.

    spans: the marked episodes; without any, all is one. left_out: why ticks or pieces are not there, counted.
    """

    def __init__(self, robot: RobotSpec, options: Options, spans: Sequence[Span] = ()) -> None:
        cameras = options.cameras or robot.camera_names
        self._options, self._spans = options, spans
        self._synchroniser = Synchroniser(robot, cameras=cameras)
        self.ingest = Ingest(robot, self._synchroniser, cameras)
        self._sources = {source.topic: source for source in self.ingest.sources}
        self._commanded = Commanded(robot, options.actions, options.chunk_topic)
        self._step_ns = round((options.step_s or robot.sync.history_step_s) * NS_PER_S)
        self._max_hold = int(robot.sync.max_age_s * NS_PER_S // self._step_ns) if robot.sync.align == "hold" else 0
        self._ticker = Ticker(self._step_ns)
        self._waiting: deque[tuple[Observation, Span | None] | None] = deque()  # for their action; None: a cut
        self._last: Observation | None = None
        self._span: Span | None = None
        self._begun: list[Frame] = []  # the frames of a piece that is still too short
        self._episode, self._long_enough = 0, False
        self.left_out: Counter[str] = Counter()

    @property
    def topics(self) -> tuple[str, ...]:
        """What must be read of a bag."""
        return tuple(dict.fromkeys((*self._sources, *self._commanded.topics)))

    def take(self, topic: str, message: Any, now_ns: int) -> Iterator[Frame]:
        """Take one message, received at `now_ns`; gives the frames that are complete with it."""
        yield from self._settle(now_ns)  # a command that comes now was not in force before
        source = self._sources.get(topic)
        sentence = self._synchroniser.instruction
        taken = source is not None and self.ingest.take(source, message, now_ns)
        self._commanded.take(topic, message, now_ns)
        if source is None or not taken or source.name == JOINT_STATES:
            return
        if source.name != INSTRUCTION:
            self._observe(now_ns)
        elif self._options.split == "instruction" and self._synchroniser.instruction != sentence:
            self._cut()

    def close(self) -> Iterator[Frame]:
        """The end of the bag. The last frame has no action any more."""
        if self._waiting and self._waiting[-1] is not None:
            self.left_out["last ticks"] += 1
        self._finish()
        yield from ()

    def _observe(self, now_ns: int) -> None:
        """As the live policy does on each accepted image."""
        if not self._synchroniser.instruction:
            return
        observation = self._synchroniser.observe(now_ns)
        if observation is None:
            return
        span = next((s for s in self._spans if s.start_ns <= now_ns <= s.end_ns), None)
        if span is not self._span:
            self._cut()
            self._span = span
        if self._spans and (span is None or (self._options.only_successes and not span.success)):
            return
        tick = self._ticker.take(observation.stamp_ns)
        if tick is None:
            return
        if tick.missed:
            self._bridge(self._last, tick.missed)
        self._last = observation
        self._waiting.append((observation, span))

    def _bridge(self, last: Observation | None, missed: int) -> None:
        """Ticks without a new observation: the last one is held, where the contract says so; else an episode ends."""
        if last is None or missed > self._max_hold:
            self.left_out["ticks without an observation"] += missed
            self._waiting.append(None)
            return
        for k in range(1, missed + 1):
            self._waiting.append((replace(last, stamp_ns=last.stamp_ns + k * self._step_ns), self._span))

    def _settle(self, now_ns: int) -> Iterator[Frame]:
        """Give the frames that wait their actions, as soon as these are known."""
        while self._waiting:
            waiting = self._waiting[0]
            if waiting is None:
                self._finish()
                self._waiting.popleft()
                continue
            observation, span = waiting
            due_ns = observation.stamp_ns + self._step_ns
            if now_ns <= due_ns + self._commanded.patience_ns:
                return
            self._waiting.popleft()
            action = self._commanded.at(due_ns)
            if action is None:
                self.left_out["ticks without a command"] += 1
                self._finish()
                continue
            yield from self._complete(Frame(self._episode, observation, action, span.success if span else None))

    def _complete(self, frame: Frame) -> Iterator[Frame]:
        if self._long_enough:
            yield frame
            return
        self._begun.append(frame)
        if len(self._begun) >= self._options.min_frames:
            self._long_enough = True
            yield from self._begun
            self._begun = []

    def _cut(self) -> None:
        self._waiting.append(None)
        self._ticker.reset()
        self._last = None

    def _finish(self) -> None:
        """The next frame begins another episode."""
        if self._begun:
            self.left_out["frames of pieces too short"] += len(self._begun)
        self._episode += self._long_enough
        self._begun, self._long_enough = [], False
