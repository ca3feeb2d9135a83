"""Writes demonstrations as a bag: the messages that a robot would have published, with correct times.

It is the inverse of an export, for computed demonstrations (`vla-ros demos`): what comes back from the bag can be
compared with the original.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import String

from vla_ros.bags.episodes.commanded import CHUNK_TOPIC
from vla_ros.bags.episodes.marks import EPISODE_TOPIC, mark_text
from vla_ros.bags.writer import BagWriter, Channel, Format
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import NS_PER_S, ActionChunk
from vla_ros.ros.convert import array_to_joint_state, chunk_to_trajectory, command_message, serialize, type_name
from vla_ros.ros.images import array_to_image

MS = 1_000_000
# After the moment they describe; the marks and the sentence come before the first frame.
START_NS, SENTENCE_NS, STATE_NS, IMAGE_NS, CHUNK_NS = -20 * MS, -10 * MS, 1 * MS, 2 * MS, 30 * MS
PAUSE_NS = NS_PER_S  # between episodes

Timed = tuple[int, str, Any]  # time of reception [ns], topic, message


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One episode of T frames, one step apart.

    images: camera -> (T, H, W, 3) uint8. state: (T, D) measured positions. executed: (T, D) positions commanded one
    step later, noise included. plans: (T, H, D) the demonstrator's plans; the first step is one ahead.
    """

    sentence: str
    images: Mapping[str, NDArray[np.uint8]]
    state: NDArray[np.floating]
    executed: NDArray[np.floating]
    plans: NDArray[np.floating]


def write_demonstrations(
    path: Path, robot: RobotSpec, episodes: Iterable[Demonstration], step_ns: int, start_ns: int = NS_PER_S
) -> int:
    """Write a bag with marks around each episode and return the number of episodes. BagError if `path` exists."""
    writer, count = BagWriter(path, Format()), 0
    for episode in episodes:
        for receive_ns, topic, message in sorted(_messages(robot, episode, step_ns, start_ns), key=lambda m: m[0]):
            writer.add(Channel(topic, type_name(message)))
            writer.write(topic, receive_ns, serialize(message))
        start_ns += len(episode.state) * step_ns + PAUSE_NS
        count += 1
    writer.close()
    return count


def _messages(robot: RobotSpec, episode: Demonstration, step_ns: int, start_ns: int) -> Iterator[Timed]:
    """Yield an episode's messages, unordered."""
    end_ns = start_ns + len(episode.state) * step_ns
    yield start_ns + START_NS, EPISODE_TOPIC, String(data=mark_text("start", instruction=episode.sentence))
    yield start_ns + SENTENCE_NS, robot.instruction_topic, String(data=episode.sentence)
    yield end_ns + CHUNK_NS, EPISODE_TOPIC, String(data=mark_text("end", True))
    for frame, state in enumerate(episode.state):
        now_ns = start_ns + frame * step_ns
        yield now_ns + STATE_NS, robot.joint_states_topic, array_to_joint_state(robot.joint_names, state, now_ns)
        for camera, images in episode.images.items():
            yield now_ns + IMAGE_NS, robot.camera(camera).topic, array_to_image(images[frame], now_ns)
        chunk = ActionChunk(now_ns, now_ns + step_ns, step_ns, episode.plans[frame], robot.joint_names)
        yield now_ns + CHUNK_NS, CHUNK_TOPIC, chunk_to_trajectory(chunk)
    yield from _commands(robot, episode, step_ns, start_ns)


def _commands(robot: RobotSpec, episode: Demonstration, step_ns: int, start_ns: int) -> Iterator[Timed]:
    """Yield commands on a straight line from each executed position to the next, at the robot's command rate."""
    ways = [(spec, list(columns), [robot.joint_names[i] for i in columns]) for spec, columns in robot.outputs]
    before = episode.state[0]
    for frame, target in enumerate(episode.executed):
        for spec, columns, names in ways:
            substeps = round(spec.rate_hz * step_ns / NS_PER_S)
            for substep in range(1, substeps + 1):
                part = substep / substeps
                values = (1 - part) * before + part * target  # in this form exactly the target, at the end
                at_ns = start_ns + frame * step_ns + step_ns * substep // substeps
                message = command_message(spec.type, names, values[columns], at_ns, step_ns // substeps)
                yield at_ns, spec.topic, message
        before = target
