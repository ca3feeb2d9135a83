"""URDFs: what is read, what is refused, and the chain to a link."""

from __future__ import annotations

import math

import numpy as np
import pytest
from descriptions import ARM
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.description.urdf import angles, read_urdf
from vla_ros.core.errors import ConfigError
from vla_ros.core.kinematics.chain import Workspace, WorkspaceSpec, rotation

ANGLE = st.floats(-math.pi, math.pi)


def test_joints_and_limits_are_read() -> None:
    urdf = read_urdf(ARM)
    shoulder, elbow = urdf.joints[1:3]
    assert (shoulder.kind, shoulder.lower, shoulder.upper, shoulder.velocity) == ("revolute", -2, 2.5, 1.5)
    assert elbow.kind == "continuous" and math.isnan(elbow.lower) and elbow.velocity == 2
    assert [joint.name for joint in urdf.joints if joint.is_moved] == ["shoulder", "elbow", "left_finger_joint"]
    assert urdf.root == "world"


@given(ANGLE, ANGLE)
def test_the_chain_ends_where_the_joints_one_by_one_lead(first: float, second: float) -> None:
    links, tool = read_urdf(ARM).chain("flange")
    space = Workspace(WorkspaceSpec((-9, -9, -9), (9, 9, 9), links, tool), ("shoulder", "elbow"))
    turn_z, turn_y = rotation((0, 0, first)), rotation((0, second, 0))
    frame = rotation((0, 0, math.pi / 2)) @ rotation((math.pi / 2, 0, 0)) @ turn_z
    place = [0, 0, 0.3] + frame @ ([0.4, 0, 0] + turn_y @ [0.3, 0, 0.05])
    assert np.allclose(space.tool([first, second]), place, atol=1e-6)


@given(ANGLE, ANGLE, ANGLE)
def test_angles_are_those_of_the_rotation(roll: float, pitch: float, yaw: float) -> None:
    turn = rotation((roll, pitch, yaw))
    assert np.allclose(rotation(angles(turn)), turn, atol=1e-7)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (ARM, "<robot", "URDF: not valid XML"),
        (ARM, "", "URDF: not valid XML"),
        (ARM, "<sdf/>", "outermost element must be <robot>, got <sdf>"),
        (ARM, "<robot name='x'/>", "must have 1 to 1000 joints, got 0"),
        ("<robot", '<!DOCTYPE a [<!ENTITY b "c">]><robot', "DOCTYPE or ENTITY is not allowed"),
        ('type="continuous"', 'type="ball"', "joint 'elbow': type must be one of revolute, .* got 'ball'"),
        ('lower="-2"', 'lower="low"', "joint 'shoulder': limit lower must hold numbers, got 'low'"),
        ('lower="-2"', 'lower="nan"', "limit lower must hold 1 finite number, got 'nan'"),
        ('xyz="0.4 0 0"', 'xyz="0.4 0"', "origin xyz must hold 3 finite numbers, got '0.4 0'"),
        ('name="elbow"', 'name="shoulder"', "joint 'shoulder' is given twice"),
        ('<child link="finger"/>', '<child link="lower"/>', "child link 'lower' is given twice"),
        ('<parent link="flange"/><child link="finger"/>', '<child link="finger"/>', "must name a parent and a child"),
        (
            '<parent link="flange"/><child link="finger"/>',
            '<parent link="sky"/><child link="finger"/>',
            "one root link",
        ),
        ('<parent link="world"/>', '<parent link="flange"/>', "one root link, got a circle"),
    ],
)
def test_a_broken_urdf_is_refused(old: str, new: str, message: str) -> None:
    assert old in ARM
    with pytest.raises(ConfigError, match=message):
        read_urdf(ARM.replace(old, new, 1))


def test_a_link_that_is_not_there_and_a_joint_that_slides_are_named() -> None:
    urdf = read_urdf(ARM)
    with pytest.raises(ConfigError, match="no link 'flanje'; did you mean 'flange'"):
        urdf.chain("flanje")
    with pytest.raises(ConfigError, match="'left_finger_joint' on the way to 'finger' does not turn"):
        urdf.chain("finger")
