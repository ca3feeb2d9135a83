"""Reads a bag's messages in order of reception, after checking the types of their topics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from vla_ros.bags.contract_topics import CLOCK_TOPIC
from vla_ros.bags.episodes.marks import EPISODE_TOPIC, Span, parse_mark, spans_of
from vla_ros.bags.naming import absolute
from vla_ros.bags.reading.reader import Bag, BagError, decode
from vla_ros.core.errors import ConfigError, MessageError, VlaRosError
from vla_ros.core.robot import RobotSpec
from vla_ros.ros.convert import COMMAND_TYPES, to_ns
from vla_ros.ros.ingest import Source

Skip = Callable[[str, VlaRosError], None]  # called with the topic of a message that is left out, and why


def timed(
    bag: Bag, topics: tuple[str, ...], sim_time: bool, skip: Skip | None = None
) -> Iterator[tuple[str, Any, int]]:
    """Yield (topic, message, time of reception [ns]) in order, for `topics` that are on the bag.

    sim_time: nodes used the time on `/clock`; then a message was received at the last time that was published.
    skip: called with messages that cannot be decoded, which are left out; without it the first one raises BagError.
    """
    wanted = [topic for topic in topics if topic in names(bag)]
    now_ns: int | None = None
    for recorded in bag.messages(topics=[*wanted, CLOCK_TOPIC] if sim_time else wanted):
        try:
            message = decode(recorded)
            if sim_time and recorded.topic == CLOCK_TOPIC:
                now_ns = to_ns(message.clock)
                continue
        except BagError as error:
            if skip is None:
                raise
            skip(recorded.topic, error)
            continue
        if not sim_time or now_ns is not None:
            yield recorded.topic, message, recorded.receive_ns if now_ns is None else now_ns


def names(bag: Bag) -> list[str]:
    """Return the topics on a bag."""
    return sorted({topic.name for topic in bag.topics})


def check_inputs(bag: Bag, robot: RobotSpec, sources: Iterable[Source]) -> None:
    """Raise ConfigError if a bag lacks a topic that the robot's policy needs, or holds another type under its name."""
    for source in sources:
        if source.topic not in names(bag):
            raise ConfigError(
                f"{bag.path}: lacks {absolute(source.topic)} of robot '{robot.name}'; it has "
                f"{', '.join(names(bag)) or 'nothing'}{_hint(bag, source)}"
            )
        check_kinds(bag, {source.topic: source.kind})


def check_kinds(bag: Bag, kinds: Mapping[str, Any]) -> None:
    """Raise ConfigError if a topic on the bag does not hold the expected messages (classes), or has two types."""
    for topic, kind in kinds.items():
        right = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
        found = sorted({one.type for one in bag.topics if one.name == topic})
        if len(found) > 1:
            raise ConfigError(f"{bag.path}: {topic} has messages of {len(found)} types ({', '.join(found)}), not one")
        if found and found[0] != right:
            raise ConfigError(f"{bag.path}: {topic} is {found[0]}, not {right}")


def output_kinds(robot: RobotSpec, chunk_topic: str) -> dict[str, Any]:
    """Return the message class of each command output and of the chunks."""
    return {spec.topic: COMMAND_TYPES[spec.type] for spec, _ in robot.outputs} | {chunk_topic: JointTrajectory}


def marked_spans(bag: Bag, sim_time: bool, skip: Skip | None = None) -> list[Span]:
    """Return the episodes marked on the bag. skip: as in `timed`, also for marks that cannot be parsed."""
    try:
        check_kinds(bag, {EPISODE_TOPIC: String})
    except ConfigError as error:
        raise ConfigError(f"{error}: no marks of the recorder; --split none takes the bag without them") from None
    return spans_of(_marks(bag, sim_time, skip))


def _marks(bag: Bag, sim_time: bool, skip: Skip | None) -> Iterator[tuple[int, dict[str, object]]]:
    for topic, message, now_ns in timed(bag, (EPISODE_TOPIC,), sim_time, skip):
        try:
            yield now_ns, parse_mark(message.data)
        except MessageError as error:
            if skip is None:
                raise
            skip(topic, error)


def _hint(bag: Bag, source: Source) -> str:
    """Return a way out, if there is one."""
    if source.name == "instruction":
        return "; --task 'SENTENCE' gives one"
    right = f"{source.kind.__module__.split('.')[0]}/msg/{source.kind.__name__}"
    tail = absolute(source.topic)
    near = [one.name for one in bag.topics if one.type == right and one.name.endswith(tail)]
    return f"; perhaps --remap {tail}:={near[0]}" if len(near) == 1 else ""
