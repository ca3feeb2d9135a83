"""The demonstrations of `vla-ros demos` as rosbags: `vla-ros demos --bags`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vla_ros.bags.demonstration_bag import Demonstration, write_demonstrations
from vla_ros.core.errors import ConfigError
from vla_ros.core.robot import RobotSpec
from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.datasets.wordings import sentences_of

BAG_EPISODES = 100


def write_bags(data: Demonstrations, robot: RobotSpec, out: Path) -> Iterator[int]:
    """Write every episode, a hundred per bag, under `out`; yield the number of episodes written so far.

    Each gets one of its task's wordings. ConfigError if the robot is another one, or `out` is not empty.
    """
    if tuple(data.meta["joints"]) != robot.joint_names or set(data.images) != set(robot.camera_names):
        raise ConfigError(
            f"the demonstrations are of joints {', '.join(data.meta['joints'])} and cameras {', '.join(data.images)}, "
            f"which are not those of robot '{robot.name}'"
        )
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out}: is not empty; name a new folder")
    episodes = np.unique(data.episode).tolist()
    for first in range(0, len(episodes), BAG_EPISODES):
        shown = [_demonstration(data, episode) for episode in episodes[first : first + BAG_EPISODES]]
        path = out / f"demonstrations_{first // BAG_EPISODES:03d}"
        yield first + write_demonstrations(path, robot, shown, data.meta["step_ns"])


def _demonstration(data: Demonstrations, episode: int) -> Demonstration:
    first, last = np.searchsorted(data.episode, [episode, episode + 1])
    rows = slice(int(first), int(last))
    choices = sentences_of(data.meta["tasks"][data.task[first]])
    images = {camera: frames[rows] for camera, frames in data.images.items()}
    return Demonstration(
        choices[episode % len(choices)], images, data.state[rows], data.executed[rows], data.plans[rows, 0]
    )
