"""Which topics a recording of a robot holds, and which of them a replay publishes again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vla_ros.bags.marks import EPISODE, EPISODE_TOPIC
from vla_ros.bags.naming import STRING, ByOtherNames, absolute, names_on
from vla_ros.bags.reader import Bag, BagError
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.robot import RobotSpec

CLOCK_TOPIC = "/clock"
NODES = ("/policy/timing", "/commander/timing", "/diagnostics", "/action_chunk", EPISODE_TOPIC)
IN_NAMESPACE = ("policy/timing", "commander/timing", "/diagnostics", "action_chunk", EPISODE)  # as the nodes say these
PREDICTIONS = "world_model/"
COMMANDS = {
    "Float64MultiArray": "std_msgs/msg/Float64MultiArray", "JointTrajectory": "trajectory_msgs/msg/JointTrajectory",
    "JointState": "sensor_msgs/msg/JointState",
}  # fmt: skip


def contract_topics(robot: RobotSpec) -> dict[str, str]:
    """The topics that a robot's contract names, as it names them, and the type of each: cameras, joint states,
    instruction, commands."""
    found = {}
    for camera in robot.cameras:
        topic = f"{camera.topic}/compressed" if camera.compressed else camera.topic
        found[topic] = "sensor_msgs/msg/CompressedImage" if camera.compressed else "sensor_msgs/msg/Image"
    found |= {robot.joint_states_topic: "sensor_msgs/msg/JointState", robot.instruction_topic: STRING}
    return found | {spec.topic: COMMANDS[spec.type] for spec, _ in robot.outputs}


def recorded_topics(robot: RobotSpec) -> tuple[str, ...]:
    """Every topic of the contract, as it names them, and the chunks, diagnostics and episode marks."""
    return (*contract_topics(robot), *NODES)


def by_contract(bag: Bag, robot: RobotSpec, said: Mapping[str, str] | None = None) -> Bag:
    """An open bag whose topics are called as `robot`'s contract calls them; open as long as `bag` is.

    said: contract name -> name on the bag, where a person says it; it counts before what the recorder says.
    """
    known = {absolute(topic): topic for topic in recorded_topics(robot)}
    if unknown := sorted(set(said or ()) - set(known)):
        raise ConfigError(f"remap: {unknown[0]} is no topic of robot '{robot.name}'{did_you_mean(unknown[0], known)}")
    names = names_on(bag) | dict(said or {})
    own = {topic: names.get(name, name) for name, topic in known.items()}
    own = {topic: name for topic, name in own.items() if topic != name}
    return ByOtherNames(bag, own) if own else bag


def replayed_topics(bag: Bag, robot: RobotSpec, asked: Sequence[str], commands: bool) -> frozenset[str]:
    """Of the bag's topics those to publish again. asked: names; none: the robot's inputs; all: everything.

    Commands are left out unless they are wanted in so many words.
    """
    names = names_on(bag)
    there = {topic: names.get(absolute(topic), absolute(topic)) for topic in recorded_topics(robot)}
    outputs = {name for spec, _ in robot.outputs for name in (there[spec.topic], absolute(spec.topic))}
    inputs = {there[topic] for topic in (*contract_topics(robot), EPISODE_TOPIC)} - outputs
    found = {topic.name for topic in bag.topics}
    if asked and list(asked) != ["all"]:
        if missing := sorted(set(asked) - found):
            raise BagError(f"{bag.path}: there is no topic {missing[0]}{did_you_mean(missing[0], found)}")
        found &= set(asked)
    elif not asked:
        found &= inputs | (outputs if commands else set())
    return frozenset(found if commands else found - outputs)
