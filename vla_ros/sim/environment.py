"""What closed-loop evaluation needs of a simulator: reset, observe, act, step, success."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.contract import PolicyContract
from vla_ros.core.plugins import load_plugin
from vla_ros.core.types import Observation

ENVIRONMENTS = {"tabletop": "vla_ros.sim.tabletop.environment:TabletopEnvironment"}


@dataclass(frozen=True, slots=True)
class Variant:
    """How the trial of a seed is told.

    held_out: with a wording that training never saw.
    wrong_colour: naming another object than the task's; a policy that follows language fails at the task.
    marked: not naming the object, but showing it for a moment.
    """

    held_out: bool = False
    wrong_colour: bool = False
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """One episode to run: its scene's seed, its task and the task's family, and what the policy is told."""

    seed: int
    task: str
    family: str
    instruction: str


class Sensors(Protocol):
    """What can be observed of a simulated robot."""

    def joint_positions(self) -> NDArray[np.float64]:
        """Return (D,) measured positions in the order and units of the robot's contract."""

    def render(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        """Return (height, width, 3) RGB."""


class Environment(Sensors, Protocol):
    """A simulated robot and its tasks. Use it from one thread."""

    control_ns: int  # between two commands [ns]

    def trial(self, seed: int, variant: Variant) -> Trial:
        """Return what the seed stands for. Raises ConfigError for a variant that the environment lacks."""

    def reset(self, trial: Trial) -> None:
        """Begin a trial."""

    def act(self, command: NDArray[np.float64]) -> None:
        """Take (D,) joint positions as the target until the next."""

    def step(self) -> None:
        """Let `control_ns` pass."""

    def success(self) -> bool:
        """Tell whether the trial's task is done now."""

    def close(self) -> None:
        """Free what `reset` and `render` made."""


def make_environment(name: str) -> Environment:
    """Return a new environment, one of ours or one of an installed package (entry points `vla_ros.environments`)."""
    environment: Environment = load_plugin("vla_ros.environments", name, ENVIRONMENTS)()
    return environment


def observe(sensors: Sensors, contract: PolicyContract, now_ns: int, instruction: str) -> Observation:
    """Return what the contract's cameras and joints show now."""
    images = {
        camera.name: sensors.render(camera.name, camera.width, camera.height)[None] for camera in contract.cameras
    }
    return Observation(now_ns, images, sensors.joint_positions()[None].astype(np.float32), instruction)
