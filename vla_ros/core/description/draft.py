"""Write a first YAML for a robot from its URDF and from what was seen on its topics; what is a guess says so."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vla_ros.core.checks import camera_name
from vla_ros.core.description.graph import CameraSeen, CommandsSeen, Graph, StatesSeen
from vla_ros.core.description.urdf import Urdf, UrdfJoint
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.kinematics.chain import LinkSpec
from vla_ros.core.text import listed, name_of

# No URDF tells accelerations and jerks. Rule: top speed after 0.4 s, and that acceleration after 20 ms.
RAMP_S, BUILD_UP_S = 0.4, 0.02
GRIPPER_RAMP_S = 0.1
MARGIN = 0.05
YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"}
LEAST_VELOCITY = 1e-6  # below it, the URDF was exported without one
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
        f"# {name_of(urdf.name)}, drafted by `vla-ros robot init` from its URDF and {graph.seconds:g} s of its topics.",
        "# Read every line marked as a guess, then run `vla-ros robot check`. Units: rad, m, s.",
        f"name: {quoted(wishes.name or _word(urdf.name))}",
        *("", "cameras:", *(list(_cameras(graph.cameras)) or [NO_CAMERA])),
        *(
            "",
            "joints:",
            *(_joint(joint, joint.name in grippers, wishes) for joint in joints),
            *_left_out(urdf, joints),
        ),
        *("", *_topics(joints, graph.states), *_commands(_takers(graph), bool(grippers))),
        *("", *_guard(joints, grippers)),
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
    if silent := sorted(set(wishes.grippers) - {joint.name for joint in joints}):
        raise ConfigError(f"--gripper: no joint states name '{silent[0]}'; they name {listed(sorted(measured))}")
    grippers = set(wishes.grippers) or guessed
    return sorted(joints, key=lambda joint: joint.name in grippers), grippers


def _joint(joint: UrdfJoint, gripper: bool, wishes: Wishes) -> str:
    guesses = ["accelerations and jerks are by rule, not from the URDF"]
    if gripper and joint.name not in wishes.grippers:
        guesses.append("a gripper by its name")
    velocity = joint.velocity
    if not velocity > LEAST_VELOCITY:
        velocity = VELOCITY
        guesses.append("the URDF tells no velocity")
    lower, upper = _range(joint) if joint.kind != "continuous" or gripper else (0.0, 0.0)
    ends = f" lower: {_n(lower)}, upper: {_n(upper)}," if lower < upper else ""
    acceleration = velocity / (GRIPPER_RAMP_S if gripper else RAMP_S)
    kind = "gripper" if gripper else joint.kind
    return (
        f"  - {{name: {quoted(joint.name)}, kind: {kind},{ends} max_velocity: {_n(velocity)}, "
        f"max_acceleration: {_n(acceleration)}, max_jerk: {_n(acceleration / BUILD_UP_S)}}}{GUESS}{'; '.join(guesses)}"
    )


def _range(joint: UrdfJoint) -> tuple[float, float]:
    """Return lower and upper. ConfigError where the URDF gives none: a range that is made up would be obeyed."""
    lower, upper = joint.ends
    if not lower < upper or math.isinf(lower):
        said = "no lower and upper" if math.isinf(lower) else f"a range of {lower:g} to {upper:g}"
        raise ConfigError(
            f"joint '{name_of(joint.name)}' ({joint.kind}): the URDF gives {said}; correct its <limit>, and name the "
            "corrected file with --urdf"
        )
    return lower, upper


def _left_out(urdf: Urdf, joints: Sequence[UrdfJoint]) -> Iterator[str]:
    if silent := [joint.name for joint in urdf.joints if joint.is_moved and joint not in joints]:
        yield f"  # Left out, as no joint states name them: {listed(silent)}"


def _cameras(cameras: Sequence[CameraSeen]) -> Iterator[str]:
    raw = {camera.topic for camera in cameras if not camera.compressed}
    taken: set[str] = set()
    for camera in cameras:
        topic = camera.topic.removesuffix("/compressed")
        if camera.refused or (camera.compressed and topic in raw):
            continue  # depth, say; or the same camera again
        name = _camera_name(topic, taken)
        width, height = (camera.width, camera.height) if camera.width else SIZE
        encoding = f", encoding: {camera.encoding}" if camera.encoding else ""
        way = ", compressed: true" if camera.compressed else ""
        rate = max(round(camera.rate_hz), 1)
        note = "" if camera.rate_hz else GUESS + "no picture came, so its size and rate are unknown"
        size = f", width: {width}, height: {height}"
        yield f"  - {{name: {quoted(name)}, topic: {quoted(topic)}{encoding}{size}{way}, rate_hz: {rate}}}{note}"


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
        yield f"joint_states_topic: {quoted(best.topic)}" + (f"{GUESS}it lacks {listed(lacks)}" if lacks else "")
    yield "instruction_topic: /instruction"


def _takers(graph: Graph) -> list[CommandsSeen]:
    """Return the topics that may take commands of position or velocity: somebody listens, and they hold no states."""
    states = {seen.topic for seen in graph.states} | {"/joint_states"}
    return [
        seen for seen in graph.commands if seen.listeners and seen.topic not in states and "effort" not in seen.topic
    ]


def _commands(heard: Sequence[CommandsSeen], gripper: bool) -> Iterator[str]:
    hands = [seen for seen in heard if any(word in seen.topic for word in GRIPPER_WORDS)]
    arms = [seen for seen in heard if seen not in hands]
    yield _command("command", arms, FIRST_COMMAND)
    if gripper and (hands or not arms):
        yield _command("gripper_command", hands, FIRST_GRIPPER)
    elif gripper:
        yield "# No controller of a gripper was seen: it travels in `command`, with the joints in the order above."


def _command(key: str, heard: Sequence[CommandsSeen], first: str) -> str:
    best = min(heard, key=_rank, default=None)
    if best is None:
        return f"{key}: {{topic: {first}, type: Float64MultiArray, rate_hz: 100}}{GUESS}no controller was seen"
    others = [seen.topic for seen in heard if seen is not best]
    velocity = ", interface: velocity" if _takes_velocity(best) else ""
    guess = "what it takes is by its name" + (f"; also seen: {listed(others)}" if others else "")
    return f"{key}: {{topic: {quoted(best.topic)}, type: {best.type}{velocity}, rate_hz: 100}}{GUESS}{guess}"


def _takes_velocity(seen: CommandsSeen) -> bool:
    return seen.type == "Float64MultiArray" and "velocity" in seen.topic


def _rank(seen: CommandsSeen) -> tuple[bool, bool]:
    """Positions first; a position controller follows at once, a trajectory controller with a delay of its own."""
    return _takes_velocity(seen), seen.type != "Float64MultiArray"


def _guard(joints: Sequence[UrdfJoint], grippers: set[str]) -> Iterator[str]:
    spans = [upper - lower for joint in joints if joint.name not in grippers for lower, upper in [joint.ends]]
    margin = min(MARGIN, *(span / 20 for span in spans)) if spans else MARGIN
    yield "sync: {tolerance_s: 0.05, max_age_s: 0.5, max_ahead_s: 0.1}"
    yield f"guard: {{plan_timeout_s: 0.45, joint_state_timeout_s: 0.1, position_margin: {_n(margin)}, max_jump: 0.3}}"


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
        why = _no_chain([link.joint for link in links], arm, bool(wishes.tool))
    if why:
        yield f"# No workspace: {why}. With --tool LINK it is drafted for the chain to that link."
        return
    reach = _n(max(math.ceil(10 * _reach(links, place)) / 10, 0.1))
    yield f"# The box that the tool must stay in, in the frame of {name_of(urdf.root)} [m]: all that the arm can reach."
    yield "workspace:" + GUESS + "narrow the box to your cell"
    yield f"  lower: [-{reach}, -{reach}, -{reach}]"
    yield f"  upper: [{reach}, {reach}, {reach}]"
    yield "  chain:"
    yield from map(_link, links)
    note = "" if wishes.tool else GUESS + "the last link of the chain; name the tool's with --tool"
    yield f"  tool: {_list(place)}  # {name_of(tool)}{note}"


def _no_chain(found: Sequence[str], arm: Sequence[str], asked: bool) -> str:
    """Return why the chain serves for no workspace; to a link that somebody asked for it may be one arm of several."""
    if not found:
        return "no joint turns on the way to the tool"
    if not set(found) <= set(arm):
        return "a gripper or a joint that is left out turns on the way to the tool"
    return "" if asked or set(found) == set(arm) else "the joints are no single chain"


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
    return f"    - {{joint: {quoted(link.joint)}, xyz: {_list(link.xyz)}, rpy: {_list(link.rpy)}{axis}}}"


def _list(values: Sequence[float]) -> str:
    return f"[{', '.join(map(_n, values))}]"


def _n(value: float) -> str:
    """Return a number as one writes it in YAML, with six digits behind the point where that is enough."""
    if 0 < abs(value) < 1e-3:
        return f"{value:.6e}"
    text = f"{round(value, 6) + 0.0:.6f}".rstrip("0")  # + 0.0: never -0
    return text + "0" if text.endswith(".") else text


def quoted(text: str) -> str:
    """Return a name as YAML: in quotes unless it is a plain word, for a URDF or a topic may hold anything."""
    plain = re.fullmatch(r"[A-Za-z/_][A-Za-z0-9/_.-]*", text) and text.lower() not in YAML_WORDS
    return text if plain else json.dumps(text)


def _word(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in text).strip("_")[:64] or "robot"
