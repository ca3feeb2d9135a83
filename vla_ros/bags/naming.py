"""Access to a bag's topics by the names of a robot's contract, whatever their names in the bag.

In a namespace, or remapped, `/joint_states` may be on the bag as `/left/joint_states`. The recorder writes into the bag
which topic is which (as a message on `CONTRACT_TOPICS`, so that it survives repair and conversion); for other bags the
user names them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vla_ros.bags.reading.reader import Bag, BagError, Recorded, decode
from vla_ros.core.errors import ConfigError

CONTRACT_TOPICS = "/vla_ros/contract_topics"
STRING = "std_msgs/msg/String"


def names_on(bag: Bag) -> dict[str, str]:
    """Return contract name -> name on the bag, as the recorder wrote it where they differ; ignore nonsense."""
    if not any(topic.name == CONTRACT_TOPICS and topic.type == STRING for topic in bag.topics):
        return {}
    try:
        told: Any = next((json.loads(decode(one).data) for one in bag.messages([CONTRACT_TOPICS])), {})
    except (BagError, ValueError, RecursionError):
        return {}  # missing topics are reported later, with a hint to --remap
    pairs = told.items() if isinstance(told, dict) else ()
    return {name: other for name, other in pairs if isinstance(other, str)}


def names_text(names: Mapping[str, str]) -> str:
    """Return the text that `names_on` reads."""
    return json.dumps(dict(names))


def parse_remaps(words: Sequence[str]) -> dict[str, str]:
    """Return `CONTRACT:=BAG` words as contract name -> name on the bag."""
    found: dict[str, str] = {}
    for word in words:
        name, separator, other = word.partition(":=")
        if not (name and separator and other):
            raise ConfigError(f"--remap '{word}' must be CONTRACT_TOPIC:=TOPIC_ON_THE_BAG")
        found[absolute(name)] = absolute(other)
    return found


def absolute(topic: str) -> str:
    """Return a contract's topic as it is called outside any namespace."""
    return topic if topic.startswith("/") else f"/{topic}"


class ByOtherNames(Bag):
    """A view of a bag under other names. own: name here -> name in the bag; topics that it shadows are hidden."""

    def __init__(self, bag: Bag, own: Mapping[str, str]) -> None:
        self._bag, self._own = bag, own
        self._here = {there: here for here, there in own.items()}
        self.path, self.start_ns, self.end_ns = bag.path, bag.start_ns, bag.end_ns
        shown = (topic for topic in bag.topics if topic.name in self._here or topic.name not in own)
        self.topics = tuple(replace(topic, name=self._here.get(topic.name, topic.name)) for topic in shown)

    def __exit__(self, *_: Any) -> None:
        return

    def messages(
        self, topics: Any = None, start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[Recorded]:
        """Yield the messages of some topics, as `Bag.messages` does."""
        wanted = (topic.name for topic in self.topics) if topics is None else topics
        there = [self._own.get(topic, topic) for topic in wanted]
        for recorded in self._bag.messages(there, start_ns, end_ns):
            here = self._here.get(recorded.topic)
            yield recorded if here is None else replace(recorded, topic=here)
