"""The simulated table with its robot: reset under a seed, command joint targets, advance time, render, judge."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vla_ros.core.errors import ConfigError, ContractError, did_you_mean
from vla_ros.sim.tabletop.scene import ARM_JOINTS, BLOCK_HALF, COLOURS, DRAWER_TRAVEL, FINGER_TRAVEL, TIMESTEP_S, mjcf
from vla_ros.sim.tabletop.state import Array, TrueState
from vla_ros.sim.tabletop.tasks import TASKS, Task, is_done
from vla_ros.sim.tabletop.ur5e import HOME, solve

JOINTS = (*ARM_JOINTS, "gripper_joint")
CAMERAS = ("front", "wrist", "overview")


class Tabletop:
    """One simulated table. Use it from one thread: its renderers belong to the thread that first renders."""

    def __init__(self) -> None:
        self._model: Any = mujoco.MjModel.from_xml_string(mjcf())
        self._data: Any = mujoco.MjData(self._model)
        self._renderers: dict[tuple[int, int], Any] = {}
        self._balls: list[tuple[tuple[float, float, float], float, tuple[float, ...]]] = []
        self._fingers = [self._model.joint(f"finger_{side}").qposadr[0] for side in ("left", "right")]
        self._finger_dofs = [self._model.joint(f"finger_{side}").dofadr[0] for side in ("left", "right")]
        self._arm = [self._model.joint(name).qposadr[0] for name in ARM_JOINTS]
        self._arm_dofs = [self._model.joint(name).dofadr[0] for name in ARM_JOINTS]
        self.task: Task = next(iter(TASKS.values()))
        self.reset(0, self.task.name)

    @property
    def model(self) -> Any:
        """The MuJoCo model, for `sim.tabletop.anomalies`: what changes there lasts as long as this table."""
        return self._model

    @property
    def data(self) -> Any:
        """The MuJoCo state, for `sim.tabletop.anomalies`."""
        return self._data

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset [s]."""
        return float(self._data.time)

    def begin(self, task: str) -> None:
        """Judge `task` from now on, from the present state."""
        if task not in TASKS:
            raise ConfigError(f"no task is called '{task}'{did_you_mean(task, TASKS)}")
        self.task = TASKS[task]
        self._start = self.state()

    def reset(self, seed: int, task: str, spread: float = 0.0) -> None:
        """A new scene under `seed`. `spread` 1 starts the arm anywhere above the table, 0 near home."""
        rng = np.random.default_rng(seed)
        mujoco.mj_resetData(self._model, self._data)
        for colour, (x, y) in zip(COLOURS, _places(rng), strict=True):
            self._data.joint(colour).qpos[:] = [x, y, BLOCK_HALF, 1, 0, 0, 0]
        arm = HOME + rng.uniform(-0.04, 0.04, 6) * (1 - spread)
        gripper = 0.0
        if spread > 0:
            tip = np.array([rng.uniform(0.32, 0.58), rng.uniform(-0.26, 0.26), rng.uniform(0.09, 0.28)])
            arm = solve(tip[None], HOME[None], iterations=30)[0]
            gripper = float(rng.choice([0.0, 0.0, 1.0]))
        self._data.qpos[self._arm] = arm
        self._data.qpos[self._fingers] = (1 - gripper) * FINGER_TRAVEL
        self.command([*arm, gripper])
        mujoco.mj_forward(self._model, self._data)
        self.advance(0.1)  # blocks settle
        self._data.time = 0.0
        self.begin(task)

    def command(self, target: ArrayLike) -> None:
        """Set the servos' target (7,): arm [rad], gripper 0 open to 1 closed. Held until the next."""
        target = np.asarray(target, dtype=np.float64)
        if target.shape != (7,) or not np.isfinite(target).all():
            raise ContractError(f"the command must be 7 finite numbers, got {target}")
        self._data.ctrl[:6] = target[:6]
        self._data.ctrl[6:] = (1 - np.clip(target[6], 0, 1)) * FINGER_TRAVEL

    def advance(self, seconds: float) -> None:
        """Let physics run for a multiple of 2 ms."""
        mujoco.mj_step(self._model, self._data, nstep=round(seconds / TIMESTEP_S))

    def joint_positions(self) -> Array:
        """(7,) measured: arm [rad], gripper 0 open to 1 closed."""
        opening = float(self._data.qpos[self._fingers].mean())
        return np.array([*self._data.qpos[self._arm], 1 - np.clip(opening / FINGER_TRAVEL, 0, 1)])

    def joint_velocities(self) -> Array:
        """(7,) measured, per second."""
        opening = float(self._data.qvel[self._finger_dofs].mean())
        return np.array([*self._data.qvel[self._arm_dofs], -opening / FINGER_TRAVEL])

    def state(self) -> TrueState:
        """The true state now."""
        data, joints = self._data, self.joint_positions()
        # Positions of sites and bodies lag one step behind the joints unless asked for.
        mujoco.mj_kinematics(self._model, data)
        return TrueState(
            joints=joints[:6],
            gripper=float(joints[6]),
            tip=data.site("tip").xpos.copy(),
            blocks={colour: data.body(colour).xpos.copy() for colour in COLOURS},
            handle=data.site("handle").xpos.copy(),
            drawer=float(np.clip(data.joint("drawer").qpos[0], 0, DRAWER_TRAVEL)),
        )

    def success(self) -> bool:
        """Whether the task of the last reset is done now."""
        return is_done(self.task, self._start, self.state())

    def render(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        """(height, width, 3) RGB of 'front', 'wrist' or 'overview'."""
        if camera not in CAMERAS:
            raise ConfigError(f"no camera is called '{camera}'{did_you_mean(camera, CAMERAS)}")
        renderer = self._renderers.get((width, height))
        if renderer is None:
            renderer = self._renderers[width, height] = mujoco.Renderer(self._model, height, width)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        renderer.update_scene(self._data, camera)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        for place, radius_m, colour in self._balls:
            _draw_ball(renderer.scene, place, radius_m, colour)
        return np.array(renderer.render())

    def show_ball(self, place: tuple[float, float, float], radius_m: float, colour: tuple[float, ...]) -> None:
        """From now on every camera sees a ball [m], red, green and blue in [0, 1]; nothing touches it."""
        self._balls.append((place, radius_m, colour))

    def hide_balls(self) -> None:
        """No camera sees a ball any more."""
        self._balls.clear()

    def close(self) -> None:
        """Free the renderers; from the thread that rendered."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()


def _draw_ball(scene: Any, place: tuple[float, ...], radius_m: float, colour: tuple[float, ...]) -> None:
    rgba = np.array([*colour, 1], dtype=np.float32)
    size, turn = np.full(3, radius_m), np.eye(3).ravel()
    mujoco.mjv_initGeom(scene.geoms[scene.ngeom], mujoco.mjtGeom.mjGEOM_SPHERE, size, np.array(place), turn, rgba)
    scene.ngeom += 1


def _places(rng: np.random.Generator) -> Array:
    """(3, 2): block centres, in rows far enough apart for the gripper and for pushing past each other."""
    while True:
        xs = rng.uniform(0.34, 0.53, 3)
        if np.min(np.abs(xs - np.roll(xs, 1))) >= 0.062:
            return np.stack([xs, rng.uniform(-0.14, 0.14, 3)], axis=1)
