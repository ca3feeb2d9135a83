"""Turns a bag into the frames that a live policy would have seen, one per control tick, each with the next command.

Every message passes through `ros.ingest`, the code of the live policy node, in the order and at the times of its
reception; observations come from the same `Synchroniser`. So frames are bit for bit those of the live node.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from vla_ros.bags.episodes.commanded import CHUNK_TOPIC, ActionSource, Commanded
from vla_ros.bags.episodes.cuts import Cuts
from vla_ros.bags.episodes.evidence import Evidence
from vla_ros.bags.episodes.marks import Span
from vla_ros.core.errors import ConfigError
from vla_ros.core.robot import RobotSpec
from vla_ros.core.streams.synchroniser import Synchroniser
from vla_ros.core.streams.ticks import Ticker
from vla_ros.core.types import NS_PER_S, Observation, Vector
from vla_ros.ros.ingest import INSTRUCTION, JOINT_STATES, Ingest, Source

Split = Literal["marks", "instruction", "none"]
BRIDGE = 2  # ticks; cameras lose a frame or two without ending an episode


@dataclass(frozen=True, slots=True)
class EpisodeOptions:
    """How episodes are cut and labelled.

    step_s: time between frames [s]; default: the contract's `sync.history_step_s`.
    actions: the source of a frame's action (`bags.episodes.commanded`). chunk_topic: the chunks' topic on the bag.
    split: where episodes begin. marks: at the recorder's marks; a bag without any is one episode. instruction: also at
        each new sentence. none: nowhere, marks or not.
    only_successes: drop marked episodes that were not marked as a success.
    min_frames: drop shorter pieces.
    cameras: the cameras to use; default: all of the robot's.
    bridge: up to this many ticks in a row without an observation repeat the previous one; more cut the episode.
    task: replaces a sentence that is refused.
    """

    step_s: float | None = None
    actions: ActionSource = "command"
    chunk_topic: str = CHUNK_TOPIC
    split: Split = "marks"
    only_successes: bool = False
    min_frames: int = 2
    cameras: tuple[str, ...] | None = None
    bridge: int = BRIDGE
    task: str = ""

    def __post_init__(self) -> None:
        if self.bridge < 0:
            raise ConfigError(f"bridge must be >= 0 ticks, got {self.bridge}")
        if self.min_frames < 1:
            raise ConfigError(f"min_frames must be >= 1, got {self.min_frames}")


@dataclass(frozen=True, slots=True)
class Frame:
    """An observation and the action that followed it: (D,) the positions commanded one step after its stamp.

    episode: its number, rising; frames of one episode are one step apart. success: as marked; None if unmarked.
    """

    episode: int
    observation: Observation
    action: Vector
    success: bool | None = None


@dataclass(frozen=True, slots=True)
class _Break:
    """A border between waiting frames. why: empty if it is intended."""

    at_ns: int = 0
    why: str = ""


class EpisodeReader:
    """Takes messages in order of reception, and yields frames in order.

    spans: the marked episodes; without any, the whole bag is one. start_ns: of the bag, for messages. sentence: the
    first. observed, ticks: number of observations, and of those that count.
    left_out: why ticks or pieces are missing, counted. bridged: ticks that repeat the previous observation.
    cuts: episodes that were cut into pieces. evidence: what arrived on each input.
    """

    def __init__(
        self,
        robot: RobotSpec,
        options: EpisodeOptions,
        spans: Sequence[Span] = (),
        *,
        start_ns: int = 0,
        sentence: str = "",
    ) -> None:
        cameras = options.cameras or robot.camera_names
        self._options, self._spans = options, spans
        self._synchroniser = Synchroniser(robot, cameras=cameras)
        self._synchroniser.set_instruction(sentence)
        self.ingest = Ingest(robot, self._synchroniser, cameras)
        self._sources = {source.topic: source for source in self.ingest.sources}
        self._commanded = Commanded(robot, options.actions, options.chunk_topic)
        self._step_ns = round((options.step_s or robot.sync.history_step_s) * NS_PER_S)
        max_hold = int(robot.sync.max_age_s * NS_PER_S // self._step_ns) if robot.sync.align == "hold" else 0
        self._bridgeable = max(max_hold, options.bridge)
        self._ticker = Ticker(self._step_ns)
        self._waiting: deque[tuple[Observation, Span | None] | _Break] = deque()  # for their action
        self._last: Observation | None = None
        self._span: Span | None = None
        self._begun: list[Frame] = []  # frames of a piece that is still too short
        self._piece: Span | None = None  # of the frames yielded or begun last
        self._episode, self._long_enough = 0, False
        self.left_out: Counter[str] = Counter()
        self.observed = self.ticks = self.bridged = 0
        self.cuts = Cuts(start_ns)
        self.evidence = Evidence(self.ingest.sources, robot.joint_names, robot.sync.max_age_s)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics to read from a bag."""
        return tuple(dict.fromkeys((*self._sources, *self._commanded.topics)))

    @property
    def commanded(self) -> Commanded:
        """The source of the actions."""
        return self._commanded

    @property
    def not_ready(self) -> str:
        """Return why the last image gave no observation."""
        return self._synchroniser.reason

    def take(self, topic: str, message: Any, now_ns: int) -> Iterator[Frame]:
        """Take one message, received at `now_ns`; yield the frames that it completes."""
        yield from self._settle(now_ns)  # a command takes effect only on arrival
        source = self._sources.get(topic)
        sentence = self._synchroniser.instruction
        taken = source is not None and self._ingest(source, message, now_ns)
        self._commanded.take(topic, message, now_ns)
        if source is None or not taken or source.name == JOINT_STATES:
            return
        if source.name != INSTRUCTION:
            self._observe(now_ns)
        elif self._options.split == "instruction" and self._synchroniser.instruction != sentence:
            self._cut()

    def close(self) -> None:
        """End the bag and yield the remaining frames. The last frame gets no action."""
        if self._waiting and not isinstance(self._waiting[-1], _Break):
            self.left_out["last ticks"] += 1
        self._finish(_Break())

    def _ingest(self, source: Source, message: Any, now_ns: int) -> bool:
        refused = self.ingest.refused.total()
        taken = self.ingest.take(source, message, now_ns)
        error = self.ingest.last_error if self.ingest.refused.total() > refused else ""
        self.evidence.streams[source.topic].take(message, now_ns, taken, error)
        if error and source.name == INSTRUCTION:
            self._synchroniser.set_instruction(self._options.task)
        return taken

    def _observe(self, now_ns: int) -> None:
        """Take an observation, as the live policy does on each accepted image."""
        if not self._synchroniser.instruction:
            self.left_out["images while no instruction was in force"] += 1
            return
        observation = self._synchroniser.observe(now_ns)
        if observation is None:
            return
        self.observed += 1
        span = next((s for s in self._spans if s.start_ns <= now_ns <= s.end_ns), None)
        if span is not self._span:
            self._cut()
            self._span = span
        if self._spans and (span is None or (self._options.only_successes and not span.success)):
            return
        self.ticks += 1
        tick = self._ticker.take(observation.stamp_ns)
        if tick is None:
            return
        if tick.missed:
            self._bridge(self._last, tick.missed)
        self._last = observation
        self._waiting.append((observation, span))

    def _bridge(self, last: Observation | None, missed: int) -> None:
        """Hold the last observation over a few ticks without a new one; end the episode if there are more."""
        if last is None or missed > self._bridgeable:
            self.left_out["ticks without an observation"] += missed
            at_ns = last.stamp_ns + self._step_ns if last else 0
            self._waiting.append(_Break(at_ns, f"more than {self._bridgeable} ticks in a row without an observation"))
            return
        self.bridged += missed
        for k in range(1, missed + 1):
            self._waiting.append((replace(last, stamp_ns=last.stamp_ns + k * self._step_ns), self._span))

    def _settle(self, now_ns: int) -> Iterator[Frame]:
        """Give the waiting frames their actions as soon as these are known."""
        while self._waiting:
            waiting = self._waiting[0]
            if isinstance(waiting, _Break):
                self._finish(waiting)
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
                self._finish(_Break(observation.stamp_ns, "ticks without a command"))
                continue
            success = span.success if span else None
            yield from self._complete(Frame(self._episode, observation, action, success), span)

    def _complete(self, frame: Frame, span: Span | None) -> Iterator[Frame]:
        self.cuts.goes_on(span)
        self._piece = span
        if self._long_enough:
            yield frame
            return
        self._begun.append(frame)
        if len(self._begun) >= self._options.min_frames:
            self._long_enough = True
            yield from self._begun
            self._begun = []

    def _cut(self) -> None:
        self._waiting.append(_Break())
        self._ticker.reset()
        self._last = None

    def _finish(self, end: _Break) -> None:
        """End the piece: the next frame begins another episode."""
        if self._begun:
            self.left_out["frames of pieces too short"] += len(self._begun)
        if not end.why:
            self.cuts.border()
        elif self._begun or self._long_enough:
            self.cuts.broke(self._piece, end.why, end.at_ns)
        self._episode += self._long_enough
        self._begun, self._long_enough = [], False
