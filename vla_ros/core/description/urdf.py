"""Read a URDF: joints, limits, and the chain from the base to a link. Only what a robot's YAML needs.

Our own, as the parsers on offer load meshes or are no longer kept. Format: the ROS wiki, urdf/XML/joint.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.kinematics.chain import LinkSpec, Triple, rotation
from vla_ros.core.text import name_of

MAX_CHARACTERS, MAX_JOINTS = 8_000_000, 1000
Floats = NDArray[np.float64]
UrdfKind = Literal["revolute", "continuous", "prismatic", "fixed", "floating", "planar"]


@dataclass(frozen=True, slots=True)
class UrdfJoint:
    """One joint: its frame in that of its parent link (xyz [m], rpy [rad]), its axis and its limits.

    lower, upper, velocity: NaN where the URDF does not say. mimics: the joint that it follows; empty if none.
    """

    name: str
    kind: UrdfKind
    parent: str
    child: str
    xyz: Triple = (0.0, 0.0, 0.0)
    rpy: Triple = (0.0, 0.0, 0.0)
    axis: Triple = (1.0, 0.0, 0.0)
    lower: float = math.nan
    upper: float = math.nan
    velocity: float = math.nan
    mimics: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """Lower and upper limit. One that is left out is 0, as the format says; without either there are none."""
        if math.isnan(self.lower) and math.isnan(self.upper):
            return -math.inf, math.inf
        return 0.0 if math.isnan(self.lower) else self.lower, 0.0 if math.isnan(self.upper) else self.upper

    @property
    def is_moved(self) -> bool:
        """Whether a command moves it: neither fixed nor led by another joint."""
        return self.kind in ("revolute", "continuous", "prismatic") and not self.mimics


@dataclass(frozen=True, slots=True)
class Urdf:
    """A robot's joints, in the order of the file."""

    name: str
    joints: tuple[UrdfJoint, ...]

    @property
    def root(self) -> str:
        """The link that hangs on no joint."""
        children = {joint.child for joint in self.joints}
        return next(joint.parent for joint in self.joints if joint.parent not in children)

    @property
    def links(self) -> tuple[str, ...]:
        """Every link, from the root."""
        return (self.root, *(joint.child for joint in self.joints))

    def path(self, link: str) -> tuple[UrdfJoint, ...]:
        """Return the joints from the root to `link`. ConfigError if there is no such link."""
        above = {joint.child: joint for joint in self.joints}
        if link not in above and link != self.root:
            raise ConfigError(f"the URDF has no link '{name_of(link)}'{did_you_mean(link, self.links)}")
        found: list[UrdfJoint] = []
        while link in above:
            found.append(above[link])
            link = above[link].parent
        return tuple(reversed(found))

    def chain(self, link: str) -> tuple[tuple[LinkSpec, ...], Triple]:
        """Return the moved joints from the root to `link`, and the place of `link` in the frame of the last [m].

        Fixed joints become part of the frame of the next. ConfigError if a joint slides or follows another.
        """
        links, turn, place = [], np.eye(3), np.zeros(3)
        for joint in self.path(link):
            place, turn = place + turn @ np.array(joint.xyz), turn @ rotation(joint.rpy)
            if joint.kind == "fixed":
                continue
            if joint.kind not in ("revolute", "continuous") or joint.mimics:
                raise ConfigError(f"joint '{joint.name}' on the way to '{link}' does not turn by itself: {joint.kind}")
            links.append(LinkSpec(joint.name, _triple(place), angles(turn), joint.axis))
            turn, place = np.eye(3), np.zeros(3)
        return tuple(links), _triple(place)


def read_urdf(text: str) -> Urdf:
    """Read a URDF. ConfigError says what is wrong with it, and at which joint."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"URDF: {len(text)} characters, must be at most {MAX_CHARACTERS}")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # entities may unfold to gigabytes
        raise ConfigError("URDF: a DOCTYPE or ENTITY is not allowed; remove it")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ConfigError(f"URDF: not valid XML: {error}") from None
    if root.tag != "robot":
        raise ConfigError(f"URDF: the outermost element must be <robot>, got <{name_of(root.tag)}>")
    joints = tuple(map(_joint, root.findall("joint")))
    _check(joints)
    return Urdf(root.get("name", "robot"), joints)


def angles(turn: Floats) -> Triple:
    """Return roll, pitch and yaw [rad] of a rotation (3, 3): the inverse of `rotation`."""
    pitch = math.atan2(-turn[2, 0], math.hypot(turn[0, 0], turn[1, 0]))
    if math.cos(pitch) < 1e-9:  # looking straight up or down, only the sum of roll and yaw is known
        return math.atan2(-turn[1, 2], turn[1, 1]), pitch, 0.0
    return math.atan2(turn[2, 1], turn[2, 2]), pitch, math.atan2(turn[1, 0], turn[0, 0])


def _check(joints: tuple[UrdfJoint, ...]) -> None:
    if not 0 < len(joints) <= MAX_JOINTS:
        raise ConfigError(f"URDF: it must have 1 to {MAX_JOINTS} joints, got {len(joints)}; is it the right file?")
    for what, names in (("joint", [j.name for j in joints]), ("child link", [j.child for j in joints])):
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"URDF: {what} '{name_of(name)}' is given twice")
    children = {joint.child: joint.parent for joint in joints}
    roots = sorted({joint.parent for joint in joints} - set(children))
    if len(roots) != 1:
        raise ConfigError(f"URDF: there must be one root link, got {', '.join(map(name_of, roots)) or 'a circle'}")
    for start in children:
        link, steps = start, 0
        while link in children and steps <= len(joints):
            link, steps = children[link], steps + 1
        if steps > len(joints):
            raise ConfigError(f"URDF: link '{name_of(start)}' hangs on itself, in a circle")


def _joint(element: ElementTree.Element) -> UrdfJoint:
    name, kind = element.get("name", ""), element.get("type", "")
    where = f"URDF: joint '{name_of(name)}'"
    if not name or kind not in get_args(UrdfKind):
        raise ConfigError(f"{where}: type must be one of {', '.join(get_args(UrdfKind))}, got '{name_of(kind)}'")
    try:
        return UrdfJoint(name, kind, *_links(element), **dict(_numbers(element)))  # type: ignore[arg-type]  # checked
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _links(element: ElementTree.Element) -> tuple[str, str]:
    ends = [tag.get("link", "") if (tag := element.find(end)) is not None else "" for end in ("parent", "child")]
    if not all(ends):
        raise ValueError("it must name a parent and a child link")
    return ends[0], ends[1]


def _numbers(element: ElementTree.Element) -> Iterator[tuple[str, object]]:
    """Yield the fields of a joint that the URDF gives."""
    for tag, key, size in (("origin", "xyz", 3), ("origin", "rpy", 3), ("axis", "xyz", 3)):
        if (inner := element.find(tag)) is not None and (text := inner.get(key)):
            yield "axis" if tag == "axis" else key, _floats(text, f"{tag} {key}", size)
    if (limit := element.find("limit")) is not None:
        for key in ("lower", "upper", "velocity"):
            if text := limit.get(key):
                yield key, _floats(text, f"limit {key}", 1)[0]
    if (mimic := element.find("mimic")) is not None:
        yield "mimics", mimic.get("joint", "")


def _floats(text: str, what: str, size: int) -> tuple[float, ...]:
    try:
        values = tuple(map(float, text.split()))
    except ValueError:
        raise ValueError(f"{what} must hold numbers, got '{name_of(text)}'") from None
    if len(values) != size or not all(map(math.isfinite, values)):
        raise ValueError(f"{what} must hold {size} finite number{'s' * (size > 1)}, got '{name_of(text)}'")
    return values


def _triple(values: Floats) -> Triple:
    x, y, z = (round(float(value), 9) + 0.0 for value in values)
    return x, y, z
