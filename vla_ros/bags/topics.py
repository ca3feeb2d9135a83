"""Which topics are recorded, and which of them are replayed."""

from __future__ import annotations

from collections.abc import Sequence

from vla_ros.bags.episodes.marks import EPISODE_TOPIC
from vla_ros.bags.reading.reader import Bag, BagError
from vla_ros.core.errors import did_you_mean
from vla_ros.core.robot import RobotSpec

NODES = ("/policy/timing", "/commander/timing", "/diagnostics", "/action_chunk", EPISODE_TOPIC)
MOVING = ("std_msgs/msg/Float64MultiArray", "trajectory_msgs/msg/JointTrajectory")
PREDICTIONS = "/world_model/"


def recorded_topics(robot: RobotSpec) -> tuple[str, ...]:
    """Return every topic of the contract, the chunks, commands, diagnostics and episode marks."""
    cameras = [f"{camera.topic}/compressed" if camera.compressed else camera.topic for camera in robot.cameras]
    outputs = [spec.topic for spec, _ in robot.outputs]
    found = [*cameras, robot.joint_states_topic, robot.instruction_topic, *outputs, *NODES]
    return tuple(topic if topic.startswith("/") else f"/{topic}" for topic in found)


def command_topics(robot: RobotSpec) -> tuple[str, ...]:
    """Return the names on a bag of the topics of `robot.outputs`."""
    return tuple(f"/{spec.topic.lstrip('/')}" for spec, _ in robot.outputs)


def replayed_topics(bag: Bag, robot: RobotSpec, asked: Sequence[str], commands: bool) -> frozenset[str]:
    """Return the bag's topics to publish again. asked: names; none: the robot's inputs; all: everything.

    Commands are left out unless `commands`. 'all' also leaves out topics that look like commands of another robot,
    which this contract does not limit. With `commands` the robot's own joint states are used, so recorded ones are left
    out.
    """
    states = f"/{robot.joint_states_topic.lstrip('/')}"
    if commands and states in asked:
        raise BagError(f"{states} is not replayed beside commands: the robot's own joint states are needed there")
    outputs = set(command_topics(robot))
    inputs = set(recorded_topics(robot)) - outputs - {*NODES} | {EPISODE_TOPIC}
    found = {topic.name for topic in bag.topics}
    if asked and list(asked) != ["all"]:
        if missing := sorted(set(asked) - found):
            raise BagError(f"{bag.path}: there is no topic {missing[0]}{did_you_mean(missing[0], found)}")
        found &= set(asked)
    elif asked:
        found -= {topic.name for topic in bag.topics if topic.type in MOVING and topic.name not in {*outputs, *NODES}}
    else:
        found &= inputs | (outputs if commands else set())
    return frozenset(found - {states} if commands else found - outputs)
