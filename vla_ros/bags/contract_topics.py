"""The topics of a robot's contract, and access to bags by these names."""

from __future__ import annotations

from collections.abc import Mapping

from vla_ros.bags.episodes.marks import EPISODE
from vla_ros.bags.naming import STRING, ByOtherNames, absolute, names_on
from vla_ros.bags.reading.reader import Bag
from vla_ros.bags.topics import NODES
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.robot import RobotSpec

CLOCK_TOPIC = "/clock"
IN_NAMESPACE = (
    "policy/timing",
    "commander/timing",
    "/diagnostics",
    "action_chunk",
    EPISODE,
)  # NODES as nodes call them
PREDICTIONS = "world_model/"
COMMANDS = {
    "Float64MultiArray": "std_msgs/msg/Float64MultiArray",
    "JointTrajectory": "trajectory_msgs/msg/JointTrajectory",
    "JointState": "sensor_msgs/msg/JointState",
}


def contract_topics(robot: RobotSpec) -> dict[str, str]:
    """Return topic -> type of the contract: cameras, joint states, instruction, commands."""
    found = {}
    for camera in robot.cameras:
        topic = f"{camera.topic}/compressed" if camera.compressed else camera.topic
        found[topic] = "sensor_msgs/msg/CompressedImage" if camera.compressed else "sensor_msgs/msg/Image"
    found |= {robot.joint_states_topic: "sensor_msgs/msg/JointState", robot.instruction_topic: STRING}
    return found | {spec.topic: COMMANDS[spec.type] for spec, _ in robot.outputs}


def by_contract(bag: Bag, robot: RobotSpec, said: Mapping[str, str] | None = None) -> Bag:
    """Return an open bag under the topic names of `robot`'s contract; it stays open as long as `bag`.

    said: contract name -> name on the bag, as given by the user; it overrides what the recorder wrote.
    """
    known = {absolute(topic): topic for topic in (*contract_topics(robot), *NODES)}
    if unknown := sorted(set(said or ()) - set(known)):
        raise ConfigError(f"remap: robot '{robot.name}' has no topic {unknown[0]}{did_you_mean(unknown[0], known)}")
    names = names_on(bag) | dict(said or {})
    own = {topic: names.get(name, name) for name, topic in known.items()}
    own = {topic: name for topic, name in own.items() if topic != name}
    return ByOtherNames(bag, own) if own else bag
