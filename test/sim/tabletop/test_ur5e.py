"""Our kinematics against MuJoCo's, and the inverse against the forward."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from vla_ros.sim.tabletop.scene import ARM_JOINTS, mjcf
from vla_ros.sim.tabletop.ur5e import HOME, LOWER, POINTING_DOWN, UPPER, forward, rotation_error, solve


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(mjcf())


def test_forward_kinematics_equal_the_simulators_tip_and_jacobian(model: mujoco.MjModel) -> None:
    data = mujoco.MjData(model)
    qpos = [model.joint(name).qposadr[0] for name in ARM_JOINTS]
    dofs = [model.joint(name).dofadr[0] for name in ARM_JOINTS]
    for q in np.random.default_rng(0).uniform(LOWER, UPPER, (20, 6)):
        data.qpos[qpos] = q
        mujoco.mj_forward(model, data)
        jacobian = np.zeros((6, model.nv))
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], model.site("tip").id)
        position, rotation, ours = (value[0] for value in forward(q[None]))
        np.testing.assert_allclose(position, data.site("tip").xpos, atol=1e-9)
        np.testing.assert_allclose(rotation, data.site("tip").xmat.reshape(3, 3), atol=1e-9)
        np.testing.assert_allclose(ours, jacobian[:, dofs], atol=1e-9)


def test_inverse_kinematics_reach_all_over_the_table() -> None:
    rng = np.random.default_rng(1)
    goals = rng.uniform([0.32, -0.28, 0.02], [0.66, 0.28, 0.30], (60, 3))
    joints = solve(goals, np.repeat(HOME[None], len(goals), axis=0), iterations=40)
    position, rotation, _ = forward(joints)
    np.testing.assert_allclose(position, goals, atol=1e-4)
    np.testing.assert_allclose(rotation, np.broadcast_to(POINTING_DOWN, rotation.shape), atol=1e-3)


def test_three_iterations_follow_a_path_of_the_experts_steps() -> None:
    joints = solve(np.array([[0.45, -0.2, 0.12]]), HOME[None], iterations=40)
    for y in np.arange(-0.175, 0.2, 0.025):
        goal = np.array([[0.45, y, 0.12]])
        following = solve(goal, joints, iterations=3)
        assert np.abs(following - joints).max() < 0.25
        joints = following
        np.testing.assert_allclose(forward(joints)[0], goal, atol=1e-3)


def test_inverse_kinematics_stay_within_the_joint_limits() -> None:
    joints = solve(np.array([[3.0, 0.0, 0.2]]), HOME[None], iterations=50)
    assert np.isfinite(joints).all() and (joints >= LOWER).all() and (joints <= UPPER).all()


def test_joint_limits_are_the_datasheets(model: mujoco.MjModel) -> None:
    limits = np.array([model.joint(name).range for name in ARM_JOINTS])
    np.testing.assert_allclose(limits, np.stack([LOWER, UPPER], axis=1), atol=1e-4)
    assert UPPER[2] == pytest.approx(np.pi) and UPPER[0] == pytest.approx(2 * np.pi)


def test_rotation_error_is_the_small_turn_to_the_target() -> None:
    angle = 1e-3
    turned = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(rotation_error(turned, np.eye(3)[None])[0], [angle, 0, 0], atol=1e-8)
