"""Check a robot's YAML against its URDF and its topics: a row for each thing, ok or how to mend it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vla_ros.core.description.graph import CameraSeen, CommandsSeen, Graph, StatesSeen
from vla_ros.core.description.urdf import Urdf, UrdfJoint
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.kinematics.chain import Workspace, WorkspaceSpec
from vla_ros.core.robot import CameraSpec, CommandSpec, JointSpec, RobotSpec
from vla_ros.core.text import listed

State = Literal["ok", "warn", "wrong"]
SLACK = 1e-3  # between limits that were rounded differently [rad, m]
FAR_M = 0.001  # a chain that ends further from the URDF's is another arm's
SLOWEST = 0.7  # of the rate that the YAML promises
POSES, SEED = 20, 0


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was checked: what it is, whether it serves, what was found, and what to do."""

    what: str
    state: State
    said: str
    fix: str = ""


def check_urdf(robot: RobotSpec, urdf: Urdf) -> Iterator[Row]:
    """Yield a row for each joint and for the workspace."""
    known = {joint.name: joint for joint in urdf.joints}
    for joint in robot.joints:
        if joint.name in known:
            yield _joint_row(joint, known[joint.name])
        elif joint.kind == "gripper":  # often a driver of its own, absent from the arm's URDF
            yield Row(f"joint {joint.name}", "warn", "not in the URDF", "check its name and its limits by hand")
        else:
            yield Row(
                f"joint {joint.name}", "wrong", f"not in the URDF{did_you_mean(joint.name, known)}", "correct its name"
            )
    if robot.workspace is not None:
        yield _workspace_row(robot, robot.workspace, urdf)


def _joint_row(joint: JointSpec, known: UrdfJoint) -> Row:
    what = f"joint {joint.name}"
    if not known.is_moved:
        said = f"follows {known.mimics}" if known.mimics else f"{known.kind} in the URDF"
        return Row(what, "wrong", said, "leave it out: no command moves it")
    if joint.kind != "gripper" and joint.kind != known.kind:
        return Row(what, "wrong", f"kind is {joint.kind}; {known.kind} in the URDF", f"set kind: {known.kind}")
    lower, upper = known.ends
    if known.kind != "continuous" and not (lower - SLACK <= joint.lower and joint.upper <= upper + SLACK):
        given, allowed = f"{joint.lower:g} to {joint.upper:g}", f"{lower:g} to {upper:g}"
        return Row(what, "wrong", f"range {given} is wider than the URDF's {allowed}", "narrow lower and upper")
    if 0 < known.velocity < joint.max_velocity - SLACK:
        said = f"max_velocity {joint.max_velocity:g} is above the URDF's {known.velocity:g}"
        return Row(what, "wrong", said, f"set max_velocity: {known.velocity:g} or less")
    if known.kind != "continuous" and math.isinf(lower):
        return Row(what, "warn", "the URDF gives no range to compare with", "check lower and upper by hand")
    return Row(what, "ok", f"{joint.kind}, within the URDF's limits")


def _workspace_row(robot: RobotSpec, spec: WorkspaceSpec, urdf: Urdf) -> Row:
    """Compare the YAML's chain with every link of the URDF, in random poses: one of them must move as the tool does."""
    moved = [link.joint for link in spec.chain]
    ends = [joint.child for joint in urdf.joints if _moved_by(urdf, joint.child) == moved]
    if not ends:
        return Row("workspace", "wrong", "the URDF has no link that is moved by chain's joints alone", "correct chain")
    poses = np.random.default_rng(SEED).uniform(-math.pi, math.pi, (POSES, len(robot.joints)))
    ours = WorkspaceSpec(spec.lower, spec.upper, spec.chain)  # where its last joint is: tools differ
    try:
        theirs = WorkspaceSpec(spec.lower, spec.upper, urdf.chain(ends[0])[0])
    except ConfigError as error:
        return Row("workspace", "wrong", str(error), "leave the workspace out")
    places = [Workspace(one, robot.joint_names).tool(poses) for one in (ours, theirs)]
    # Which way the base looks is the YAML's own affair: heights and distances from the axis must agree.
    off = max(float(np.abs(a - b).max()) for a, b in zip(*map(_turned, places), strict=True))
    if off > FAR_M:
        said = f"the last joint of chain is up to {off:.3f} m from where the URDF has link {ends[0]}"
        return Row("workspace", "warn", said, "take chain from `vla-ros robot init`, or check it by hand")
    return Row("workspace", "ok", f"chain agrees with the URDF's link {ends[0]} within {FAR_M * 1000:g} mm")


def _turned(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.hypot(places[:, 0], places[:, 1]), places[:, 2]


def _moved_by(urdf: Urdf, link: str) -> list[str]:
    return [joint.name for joint in urdf.path(link) if joint.kind != "fixed"]


def check_graph(robot: RobotSpec, graph: Graph, namespace: str = "") -> Iterator[Row]:
    """Yield a row for each topic of the YAML. namespace: of the nodes that will run it; relative topics follow it."""
    for camera in robot.cameras:
        topic = resolved(camera.topic, namespace) + ("/compressed" if camera.compressed else "")
        yield _camera_row(camera, topic, graph)
    topic = resolved(robot.joint_states_topic, namespace)
    yield _states_row(robot, topic, {seen.topic: seen for seen in graph.states})
    for spec, _ in robot.outputs:
        yield _command_row(spec, resolved(spec.topic, namespace), {seen.topic: seen for seen in graph.commands})


def resolved(topic: str, namespace: str) -> str:
    """Return a topic's full name, as a node in `namespace` sees it."""
    return topic if topic.startswith("/") else "/" + "/".join(filter(None, (namespace.strip("/"), topic)))


def _camera_row(camera: CameraSpec, topic: str, graph: Graph) -> Row:
    what, seen = f"camera {camera.name}", {one.topic: one for one in graph.cameras}
    if topic not in seen:
        return Row(what, "wrong", f"nobody publishes images on {topic}{did_you_mean(topic, seen)}", "correct topic")
    found = seen[topic]
    if found.refused:
        return Row(what, "wrong", f"{topic}: {found.refused}", "correct topic")
    if not found.rate_hz:
        return Row(what, "wrong", f"no picture came on {topic} in {graph.seconds:g} s", "start the camera's driver")
    if wrong := _picture(camera, found):
        return Row(what, "wrong", *wrong)
    if found.rate_hz < SLOWEST * camera.rate_hz:
        said = f"{found.rate_hz:.1f} pictures a second; rate_hz says {camera.rate_hz:g}"
        return Row(what, "warn", said, f"set rate_hz: {found.rate_hz:.0f}, or speed the driver up")
    return Row(what, "ok", f"{found.encoding or 'compressed'} at {found.rate_hz:.0f} Hz on {topic}")


def _picture(camera: CameraSpec, found: CameraSeen) -> tuple[str, str] | None:
    """Return what differs between the YAML and a picture, and how to mend it."""
    if found.encoding and camera.encoding != "any" and found.encoding != camera.encoding:
        return f"encoding is {found.encoding}; the YAML says {camera.encoding}", f"set encoding: {found.encoding}"
    if camera.width and (found.width, found.height) != (camera.width, camera.height):
        fix = f"set width: {found.width}, height: {found.height}"
        return f"size is {found.width}x{found.height}; the YAML says {camera.width}x{camera.height}", fix
    return None


def _states_row(robot: RobotSpec, topic: str, seen: dict[str, StatesSeen]) -> Row:
    if topic not in seen:
        return Row("joint states", "wrong", f"nobody publishes on {topic}{did_you_mean(topic, seen)}", "correct it")
    found = seen[topic]
    if not found.rate_hz:
        return Row("joint states", "wrong", f"nothing came on {topic}", "start the robot's driver")
    if missing := [name for name in robot.joint_names if name not in found.names]:
        said = f"{topic} lacks {listed(missing)}; it names {listed(found.names)}"
        return Row("joint states", "wrong", said, "correct the joints' names, or the topic")
    if not found.stamped:
        return Row("joint states", "wrong", "they have no stamp", "set header.stamp in the driver")
    if outside := [*_outside(robot, dict(zip(found.names, found.positions, strict=False)))]:
        return Row("joint states", "wrong", f"outside lower and upper: {', '.join(outside)}", "check units and limits")
    if found.rate_hz * robot.guard.joint_state_timeout_s < 2:
        said = (
            f"{found.rate_hz:.0f} Hz is too slow for guard.joint_state_timeout_s {robot.guard.joint_state_timeout_s:g}"
        )
        return Row("joint states", "wrong", said, "raise the driver's rate, or the time-out")
    if found.publishers > 1 and not robot.several_joint_state_publishers:
        said = f"{found.publishers} publishers on {topic}"
        return Row("joint states", "warn", said, "arming is refused where two of them name the same joint")
    return Row("joint states", "ok", f"all {len(robot.joints)} joints at {found.rate_hz:.0f} Hz on {topic}")


def _outside(robot: RobotSpec, at: dict[str, float]) -> Iterator[str]:
    for joint in robot.joints:
        if not joint.lower - SLACK <= at.get(joint.name, joint.lower) <= joint.upper + SLACK:
            yield f"{joint.name} {at[joint.name]:g}"


def _command_row(spec: CommandSpec, topic: str, seen: dict[str, CommandsSeen]) -> Row:
    what, found = f"commands {topic}", seen.get(topic)
    if found is None or not found.listeners:
        return Row(
            what, "wrong", f"nobody listens{did_you_mean(topic, seen)}", "activate the controller, or correct it"
        )
    if found.type != spec.type:
        return Row(what, "wrong", f"takes {found.type}; the YAML says {spec.type}", f"set type: {found.type}")
    if found.writers:
        said = f"{found.writers} others publish there"
        return Row(what, "wrong", said, "end them: the commander does not arm beside another")
    if named := next((word for word in ("effort", "velocity") if word in topic and word != spec.interface), ""):
        fix = "set interface: velocity" if named == "velocity" else "choose a position controller"
        return Row(what, "wrong", f"by its name it takes {named}; the YAML sends {spec.interface}", fix)
    return Row(what, "ok", f"{found.type}, heard by {found.listeners}")
