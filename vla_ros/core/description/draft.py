"""Write a first YAML for a robot from its URDF and from what was seen on its topics; what is a guess says so."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vla_ros.core.checks import camera_name
from vla_ros.core.description.graph import CameraSeen, CommandsSeen, Graph, StatesSeen
from vla_ros.core.description.urdf import Urdf, UrdfJoint
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.kinematics.chain import LinkSpec
from vla_ros.core.text import listed

# No URDF tells accelerations and jerks. Rule: top speed after 0.4 s, and that acceleration after 20 ms.
RAMP_S, BUILD_UP_S = 0.4, 0.02
GRIPPER_RAMP_S = 0.1
VELOCITY = 1.0  # where the URDF tells none [rad/s, m/s]
GRIPPER_WORDS = ("gripper", "finger", "knuckle", "hand_e", "jaw")
FIRST_COMMAND = "/forward_position_controller/commands"
FIRST_GRIPPER = "/gripper_controller/commands"
GUESS = "  # a guess: "
SIZE = 640, 480  # where no picture came
NO_CAMERA = (
    f"  - {{name: front, topic: /front/image_raw, width: 640, height: 480, rate_hz: 30}}{GUESS}no camera was seen"
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person said: the robot's name, its gripper joints, the link of its tool; empty where nothing was said."""

    name: str = ""
    grippers: tuple[str, ...] = ()
    tool: str = ""


def draft(urdf: Urdf, graph: Graph, wishes: Wishes) -> str:
    """Return the commented YAML of a robot. ConfigError if the URDF has no joint to command."""
    joints, grippers = _arm_and_grippers(urdf, graph, wishes)
    lines = [
        f"# {urdf.name}, drafted by `vla-ros robot init` from its URDF and {graph.seconds:g} s of its topics.",
        "# Read every line marked as a guess, then run `vla-ros robot check`. Units: rad, m, s.",
        f"name: {wishes.name or _word(urdf.name)}",
        *("", "cameras:", *(_cameras(graph.cameras) if graph.cameras else (NO_CAMERA,))),
        *("", "joints:", *(_joint(joint, joint.name in grippers, wishes) for joint in joints)),
        *("", *_topics(joints, graph.states), *_commands(graph.commands, bool(grippers))),
        *("", *_guard()),
        *("", *_workspace(urdf, joints, grippers, wishes)),
    ]
    return "\n".join(lines) + "\n"


def _arm_and_grippers(urdf: Urdf, graph: Graph, wishes: Wishes) -> tuple[list[UrdfJoint], set[str]]:
    moved = {joint.name: joint for joint in urdf.joints if joint.is_moved}
    if not moved:
        raise ConfigError("the URDF has no joint that a command could move")
    for name in wishes.grippers:
        if name not in moved:
            raise ConfigError(f"--gripper: the URDF has no moved joint '{name}'{did_you_mean(name, moved)}")
    measured = {name for seen in graph.states for name in seen.names}
    joints = [joint for joint in moved.values() if not measured or joint.name in measured]
    if not joints:
        raise ConfigError(f"the topics name none of the URDF's joints; they name {listed(sorted(measured))}")
    guessed = {joint.name for joint in joints if any(word in joint.name.lower() for word in GRIPPER_WORDS)}
    grippers = set(wishes.grippers) or guessed
    return sorted(joints, key=lambda joint: joint.name in grippers), grippers


def _joint(joint: UrdfJoint, gripper: bool, wishes: Wishes) -> str:
    guesses = ["accelerations and jerks are by rule, not from the URDF"]
    if gripper and joint.name not in wishes.grippers:
        guesses.append("a gripper by its name")
    velocity = joint.velocity
    if not velocity > 0:
        velocity = VELOCITY
        guesses.append("the URDF tells no velocity")
    ends = "" if joint.kind == "continuous" and not gripper else f" lower: {_n(joint.lower)}, upper: {_n(joint.upper)},"
    if ends and not joint.lower < joint.upper:
        ends = " lower: -3.1416, upper: 3.1416,"
        guesses.append("the URDF tells no range")
    acceleration = velocity / (GRIPPER_RAMP_S if gripper else RAMP_S)
    kind = "gripper" if gripper else joint.kind
    return (
        f"  - {{name: {joint.name}, kind: {kind},{ends} max_velocity: {_n(velocity)}, "
        f"max_acceleration: {_n(acceleration)}, max_jerk: {_n(acceleration / BUILD_UP_S)}}}{GUESS}{'; '.join(guesses)}"
    )


def _cameras(cameras: Sequence[CameraSeen]) -> Iterator[str]:
    raw = {camera.topic for camera in cameras if not camera.compressed}
    taken: set[str] = set()
    for camera in cameras:
        topic = camera.topic.removesuffix("/compressed")
        if camera.compressed and topic in raw:
            continue  # the same camera again
        name = _camera_name(topic, taken)
        width, height = (camera.width, camera.height) if camera.width else SIZE
        encoding = f", encoding: {camera.encoding}" if camera.encoding else ""
        way = ", compressed: true" if camera.compressed else ""
        rate = max(round(camera.rate_hz), 1)
        note = "" if camera.rate_hz else GUESS + "no picture came, so its size and rate are unknown"
        size = f", width: {width}, height: {height}"
        yield f"  - {{name: {name}, topic: {topic}{encoding}{size}{way}, rate_hz: {rate}}}{note}"


def _camera_name(topic: str, taken: set[str]) -> str:
    """Return what tells a camera from the others: the part of its topic before the usual endings."""
    usual = {"image_raw", "image", "color", "rgb", "image_rect", "image_rect_color", "camera"}
    parts = [_word(part) for part in topic.split("/") if part]
    name = next((part for part in reversed(parts) if part not in usual), parts[0] if parts else "camera")
    for suffix in ("", *(f"_{number}" for number in range(2, 100))):
        if name + suffix not in taken:
            taken.add(name + suffix)
            camera_name(name + suffix)
            return name + suffix
    raise ConfigError(f"too many cameras are called '{name}'")


def _topics(joints: Sequence[UrdfJoint], states: Sequence[StatesSeen]) -> Iterator[str]:
    names = {joint.name for joint in joints}
    best = max(states, key=lambda seen: len(names & set(seen.names)), default=None)
    if best is None:
        yield "joint_states_topic: /joint_states" + GUESS + "nobody published joint states"
    else:
        lacks = sorted(names - set(best.names))
        yield f"joint_states_topic: {best.topic}" + (f"{GUESS}it lacks {listed(lacks)}" if lacks else "")
    yield "instruction_topic: /instruction"


def _commands(commands: Sequence[CommandsSeen], gripper: bool) -> Iterator[str]:
    heard = [seen for seen in commands if seen.listeners]
    hands = [seen for seen in heard if any(word in seen.topic for word in GRIPPER_WORDS)]
    arms = [seen for seen in heard if seen not in hands]
    yield _command("command", arms, FIRST_COMMAND)
    if gripper and (hands or not arms):
        yield _command("gripper_command", hands, FIRST_GRIPPER)
    elif gripper:
        yield "# No controller of a gripper was seen: it travels in `command`, with the joints in the order above."


def _command(key: str, heard: Sequence[CommandsSeen], first: str) -> str:
    # A position controller takes each command at once; a trajectory controller follows with a delay of its own.
    best = min(heard, key=lambda seen: seen.type != "Float64MultiArray", default=None)
    if best is None:
        return f"{key}: {{topic: {first}, type: Float64MultiArray, rate_hz: 100}}{GUESS}no controller was seen"
    others = [seen.topic for seen in heard if seen is not best]
    note = f"  # also seen: {listed(others)}" if others else ""
    return f"{key}: {{topic: {best.topic}, type: {best.type}, rate_hz: 100}}{note}"


def _guard() -> Iterator[str]:
    yield "sync: {tolerance_s: 0.05, max_age_s: 0.5, max_ahead_s: 0.1}"
    yield "guard: {plan_timeout_s: 0.45, joint_state_timeout_s: 0.1, position_margin: 0.05, max_jump: 0.3}"


def _workspace(urdf: Urdf, joints: Sequence[UrdfJoint], grippers: set[str], wishes: Wishes) -> Iterator[str]:
    arm = [joint.name for joint in joints if joint.name not in grippers]
    tool = wishes.tool or _tool(urdf, arm)
    try:
        links, place = urdf.chain(tool)
    except ConfigError as error:
        if wishes.tool:
            raise
        links, place, why = (), (0.0, 0.0, 0.0), str(error)
    else:
        why = "" if [link.joint for link in links] == arm else "the joints are no single chain"
    if why:
        yield f"# No workspace: {why}. With --tool LINK it is drafted for the chain to that link."
        return
    reach = _n(math.ceil(10 * _reach(links, place)) / 10)
    yield f"# The box that the tool must stay in, in the frame of {urdf.root} [m]: all that the arm can reach."
    yield "workspace:" + GUESS + "narrow the box to your cell"
    yield f"  lower: [-{reach}, -{reach}, -{reach}]"
    yield f"  upper: [{reach}, {reach}, {reach}]"
    yield "  chain:"
    yield from map(_link, links)
    note = "" if wishes.tool else GUESS + "the last link of the chain; name the tool's with --tool"
    yield f"  tool: {_list(place)}  # {tool}{note}"


def _tool(urdf: Urdf, arm: Sequence[str]) -> str:
    """Return the link at the far end of the most arm joints, and of those the farthest down the tree."""
    wanted = set(arm)

    def rank(link: str) -> tuple[int, int]:
        path = urdf.path(link)
        moved = [joint.name for joint in path if joint.kind != "fixed"]
        return (len(moved), len(path)) if wanted.issuperset(moved) else (-1, 0)

    return max(urdf.links, key=rank)


def _reach(links: Sequence[LinkSpec], place: Sequence[float]) -> float:
    return sum(math.hypot(*link.xyz) for link in links) + math.hypot(*place)


def _link(link: LinkSpec) -> str:
    axis = "" if link.axis == (0.0, 0.0, 1.0) else f", axis: {_list(link.axis)}"
    return f"    - {{joint: {link.joint}, xyz: {_list(link.xyz)}, rpy: {_list(link.rpy)}{axis}}}"


def _list(values: Sequence[float]) -> str:
    return f"[{', '.join(map(_n, values))}]"


def _n(value: float) -> str:
    """Return a number as one writes it in YAML, with six digits behind the point at the most."""
    text = f"{round(value, 6) + 0.0:.6f}".rstrip("0")  # + 0.0: never -0
    return text + "0" if text.endswith(".") else text


def _word(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in text).strip("_")[:64] or "robot"
