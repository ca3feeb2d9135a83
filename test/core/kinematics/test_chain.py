"""The chain of numbers in a robot's YAML against the simulated arm, and the box around the tool."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_robot import MS, STEP_NS, chunk_of, small_robot, stands

from vla_ros.core.errors import ConfigError
from vla_ros.core.execution.commander import Commander
from vla_ros.core.execution.guard import Mode
from vla_ros.core.kinematics.chain import LinkSpec, Workspace, WorkspaceSpec, rotation
from vla_ros.core.robot import RobotSpec, load_robot

# Two links of 1 m in the plane z = 0.
PLANAR = WorkspaceSpec(
    lower=(-3.0, -0.5, -1.0),
    upper=(3.0, 0.5, 1.0),
    tool=(1.0, 0.0, 0.0),
    chain=(LinkSpec("a"), LinkSpec("b", xyz=(1.0, 0.0, 0.0))),
)


def planar_robot() -> RobotSpec:
    return replace(small_robot(), workspace=PLANAR)


def test_the_ur5es_chain_is_where_the_simulators_tip_is() -> None:
    mujoco = pytest.importorskip("mujoco")
    from vla_ros.sim.tabletop.scene import ARM_JOINTS, mjcf
    from vla_ros.sim.tabletop.ur5e import LOWER, UPPER, forward

    robot = load_robot("ur5e_tabletop")
    assert robot.workspace is not None
    workspace = Workspace(robot.workspace, robot.joint_names)
    angles = np.random.default_rng(0).uniform(LOWER, UPPER, (30, 6))
    ours = workspace.tool(np.column_stack([angles, np.zeros(30)]))
    np.testing.assert_allclose(ours, forward(angles)[0], atol=1e-9)
    model = mujoco.MjModel.from_xml_string(mjcf())
    data, places = mujoco.MjData(model), [model.joint(name).qposadr[0] for name in ARM_JOINTS]
    for q, ours_at in zip(angles, ours, strict=True):
        data.qpos[places] = q
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(ours_at, data.site("tip").xpos, atol=1e-9)


def test_frames_turn_about_fixed_axes_as_in_urdf() -> None:
    roll, pitch, yaw = 0.3, -0.4, 0.5
    about = {axis: rotation(rpy) for axis, rpy in (("x", (roll, 0, 0)), ("y", (0, pitch, 0)), ("z", (0, 0, yaw)))}
    np.testing.assert_allclose(rotation((roll, pitch, yaw)), about["z"] @ about["y"] @ about["x"])
    np.testing.assert_allclose(rotation((0, 0, np.pi / 2)) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_the_tool_is_found_by_joint_names_along_any_axis() -> None:
    workspace = Workspace(PLANAR, ("g", "b", "a"))
    np.testing.assert_allclose(workspace.tool([0.7, 0.0, 0.0]), [2, 0, 0], atol=1e-12)
    np.testing.assert_allclose(workspace.tool([0.7, np.pi / 2, 0.0]), [1, 1, 0], atol=1e-12)
    down = WorkspaceSpec((-1, -1, -1), (1, 1, 1), (LinkSpec("a", axis=(0.0, -2.0, 0.0)),), (1.0, 0.0, 0.0))
    np.testing.assert_allclose(Workspace(down, ("a",)).tool([np.pi / 2]), [0, 0, 1], atol=1e-12)


def test_what_is_outside_is_named_with_how_far() -> None:
    workspace = Workspace(PLANAR, ("a", "b", "g"))
    assert workspace.outside([0.1, 0.1, 0.0]) is None
    found = workspace.outside([[0.0, 0.0, 0.0], [np.pi / 2, 0.0, 0.0]])
    assert found == "the tool is 1.500 m outside the workspace: y must be -0.500 to 0.500, got 2.000"


class Cell:
    """The planar robot, following its commands at 100 Hz."""

    def __init__(self, position: list[float]) -> None:
        self.commander, self.now_ns, self.position = Commander(planar_robot()), 1000 * MS, np.array(position)
        stands(self.commander, self.position, self.now_ns)

    def places(self, ticks: int) -> np.ndarray:
        """(ticks, 3) where the commands take the tool."""
        commands = []
        for _ in range(ticks):
            self.now_ns += 10 * MS
            self.commander.on_state(self.now_ns, self.position, self.now_ns)
            command = self.commander.tick(self.now_ns).command
            assert command is not None
            self.position = command
            commands.append(command)
        return Workspace(PLANAR, ("a", "b", "g")).tool(np.array(commands))


def test_a_plan_that_leaves_the_box_is_a_fault_before_it_moves() -> None:
    cell = Cell([0.1, 0.1, 0.5])
    assert cell.commander.arm(cell.now_ns) is None
    leaving = np.linspace([0.1, 0.1, 0.5], [0.4, 0.1, 0.5], 12)
    assert "m outside the workspace: y must be" in str(
        cell.commander.on_chunk(chunk_of(cell.now_ns, leaving), cell.now_ns)
    )
    assert cell.commander.guard.mode is Mode.FAULT
    np.testing.assert_allclose(cell.places(50)[-1], cell.places(1)[0])


def test_an_arm_outside_the_box_cannot_be_armed() -> None:
    cell = Cell([0.5, 0.5, 0.5])
    assert "not armed: the tool is" in str(cell.commander.arm(cell.now_ns))


def test_no_command_takes_the_tool_out_even_where_the_motion_swings_beyond_its_plan() -> None:
    """A plan up to the edge of the box that stops there at once: the arm cannot, and would swing past it."""
    cell = Cell([0.0, 0.0, 0.5])
    assert cell.commander.arm(cell.now_ns) is None
    edge = np.arcsin(0.5 / 2) - 1e-4
    ramp = np.minimum(np.arange(1, 13) * 0.12, edge)
    actions = np.column_stack([ramp, np.zeros(12), np.full(12, 0.5)])
    assert cell.commander.on_chunk(chunk_of(cell.now_ns - STEP_NS, actions), cell.now_ns) is None
    assert cell.places(100)[:, 1].max() <= 0.5


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-0.35, 0.35), st.floats(-0.35, 0.35), st.integers(1, 40)), min_size=1, max_size=6),
    st.integers(0, 120),
    st.sampled_from(["stop", "zeros", "nothing"]),
)
def test_wherever_a_fault_comes_the_way_to_rest_stays_inside_the_box(
    plans: list[tuple[float, float, int]], fault_at: int, how: str
) -> None:
    """Plans may lead right to the edge, at any speed that the joints may have."""
    cell = Cell([0.0, 0.0, 0.5])
    assert cell.commander.arm(cell.now_ns) is None
    places, ticks = [], 0
    for a, b, count in plans:
        actions = np.tile([a, b, 0.5], (12, 1))
        cell.commander.on_chunk(chunk_of(cell.now_ns - STEP_NS, actions), cell.now_ns)
        for _ in range(count):
            if ticks == fault_at and how == "stop":
                cell.commander.stop()
            elif ticks == fault_at and how == "zeros":
                cell.commander.on_state(cell.now_ns + MS, np.array([-0.9, 0.9, 0.5]), cell.now_ns + MS)
            places.append(cell.places(1)[0])
            ticks += 1
    places.extend(cell.places(60))
    assert cell.commander.at_rest or cell.commander.guard.mode is Mode.ARMED
    assert np.abs(np.array(places)[:, 1]).max() <= 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lower": (0.0, 0.6, 0.0)}, "is not below upper"),
        ({"chain": ()}, "chain must have at least one entry"),
        ({"chain": (LinkSpec("a"), LinkSpec("a"))}, "the name 'a' is given twice"),
        ({"chain": (LinkSpec("elbow"),)}, "there is no joint 'elbow'; known: a, b, g"),
        ({"chain": (LinkSpec("g"),)}, "'g' must be revolute or continuous, but is gripper"),
    ],
)
def test_a_wrong_workspace_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(small_robot(), workspace=replace(PLANAR, **change))  # type: ignore[arg-type]


def test_an_axis_without_a_direction_is_refused() -> None:
    with pytest.raises(ConfigError, match="axis must be a direction"):
        LinkSpec("a", axis=(0.0, 0.0, 0.0))
