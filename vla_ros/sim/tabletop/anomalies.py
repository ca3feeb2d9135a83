"""What can go wrong on the table, for measuring whether it is noticed: each anomaly changes the simulated world once.

A table that was disturbed is not put right again: make a new one for the next episode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.sim.tabletop.scene import BLOCK_HALF, COLOURS
from vla_ros.sim.tabletop.world import Tabletop

WEAK = 0.2  # of the servo's stiffness is left: the joint lags five times as far behind its command
KNOCK_DEG = 5.0  # a camera turns by this much
DIM = 0.6  # of the light is left
DISTRACTOR_M = 0.025  # radius of a ball that was not there
JAM_DAMPING = 1e6  # N s / m: what the fingers' motors can push does not move them
CLEAR_M = 0.07  # between what appears and everything else

CLOSING = 0.2  # how far the gripper is behind a command that tells it to close
MOVING_RAD = 0.005  # how far a joint that moves lags behind its command
CARRYING = 3  # joints that carry the arm: pan, lift, elbow

Disturb = Callable[[Tabletop, np.random.Generator, str], None]  # the table, what to draw from, a camera's name


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One way to disturb a table. disturb: what happens in the world; None for what happens in a camera's driver.

    closing: sets in when the gripper is told to close, in a task where it is. moving: sets in while the arm is told to
    move, for what cannot show where nothing moves.
    """

    name: str
    disturb: Disturb | None
    closing: bool = False
    moving: bool = False

    def shows(self, tabletop: Tabletop, command: ArrayLike) -> bool:
        """Whether it would show now, where `command` (7,) is sent next."""
        ahead = np.asarray(command) - tabletop.joint_positions()
        if self.closing:
            return bool(ahead[6] > CLOSING)
        return not self.moving or bool(np.abs(ahead[:CARRYING]).max() > MOVING_RAD)


def teleport_block(tabletop: Tabletop, rng: np.random.Generator, camera: str) -> None:
    """A block that the hand is not at lies somewhere else on the table."""
    state = tabletop.state()
    loose = [c for c in COLOURS if np.linalg.norm(state.blocks[c] - state.tip) > CLEAR_M] or list(COLOURS)
    colour = str(rng.choice(loose))
    tabletop.data.joint(colour).qpos[:] = [*_free_place(tabletop, rng), BLOCK_HALF, 1, 0, 0, 0]
    tabletop.data.joint(colour).qvel[:] = 0


def jam_gripper(tabletop: Tabletop, rng: np.random.Generator, camera: str) -> None:
    """The fingers stay where they are."""
    for side in ("left", "right"):
        tabletop.model.dof_damping[tabletop.model.joint(f"finger_{side}").dofadr[0]] = JAM_DAMPING


def weaken_actuator(tabletop: Tabletop, rng: np.random.Generator, camera: str) -> None:
    """The joint that moves most, of the three that carry the arm, loses most of its stiffness, but no damping."""
    joint = int(np.abs(tabletop.joint_velocities()[:CARRYING]).argmax())
    tabletop.model.actuator_gainprm[joint, 0] *= WEAK
    tabletop.model.actuator_biasprm[joint, 1] *= WEAK


def shift_camera(tabletop: Tabletop, rng: np.random.Generator, camera: str) -> None:
    """Somebody knocked against a camera."""
    axis = rng.normal(size=3)
    turn, turned = np.zeros(4), np.zeros(4)
    mujoco.mju_axisAngle2Quat(turn, axis / np.linalg.norm(axis), np.radians(KNOCK_DEG))
    mujoco.mju_mulQuat(turned, tabletop.model.camera(camera).quat, turn)
    tabletop.model.camera(camera).quat[:] = turned


def dim_lights(tabletop: Tabletop, rng: np.random.Generator, camera: str) -> None:
    """A lamp goes out."""
    for light in (tabletop.model.vis.headlight.ambient, tabletop.model.vis.headlight.diffuse):
        light[:] *= DIM
    tabletop.model.light_diffuse[:] *= DIM


def add_distractor(tabletop: Tabletop, rng: np.random.Generator, camera: str) -> None:
    """A ball of some colour lies on the table; it is seen, not touched."""
    x, y = _free_place(tabletop, rng)
    tabletop.show_ball((x, y, DISTRACTOR_M), DISTRACTOR_M, tuple(rng.uniform(0, 1, 3)))


def _free_place(tabletop: Tabletop, rng: np.random.Generator) -> tuple[float, float]:
    """On the table, where blocks lie, away from them and from the fingertips."""
    state = tabletop.state()
    taken = np.stack([*state.blocks.values(), state.tip])[:, :2]
    while True:
        place = rng.uniform([0.34, -0.2], [0.53, 0.2])
        if np.linalg.norm(taken - place, axis=1).min() > CLEAR_M:
            return float(place[0]), float(place[1])


ANOMALIES = (
    Anomaly("block teleported", teleport_block),
    Anomaly("gripper blocked", jam_gripper, closing=True),
    Anomaly("actuator weakened", weaken_actuator, moving=True),
    Anomaly("camera shifted", shift_camera),
    Anomaly("camera frozen", None, moving=True),
    Anomaly("lights changed", dim_lights),
    Anomaly("distractor added", add_distractor),
)


def named(name: str) -> Anomaly:
    """The anomaly of that name."""
    found = {anomaly.name: anomaly for anomaly in ANOMALIES}
    if name not in found:
        raise ConfigError(f"no anomaly is called '{name}'{did_you_mean(name, found)}")
    return found[name]
