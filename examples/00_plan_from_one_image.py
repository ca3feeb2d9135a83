"""Plan from one image of each camera and a sentence.

    python examples/00_plan_from_one_image.py

A policy turns an `Observation` into an `ActionChunk`: actions with a time base. No robot, no ROS, no simulator.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import vla_ros

IMAGES = Path(__file__).parent / "images"
JOINTS = [-0.22, -1.54, 1.91, -1.93, -1.58, -1.81, 0.0]  # where the arm was [rad]; the gripper is open


def read(camera: vla_ros.CameraContract) -> np.ndarray:
    """Return (1, H, W, 3) uint8 RGB: one frame of history."""
    return np.array(Image.open(IMAGES / f"{camera.name}.png").convert("RGB"))[None]


def main() -> None:
    """Load the shipped model, show it two images, print its plan."""
    policy = vla_ros.load_policy("uwm_tabletop", threads=2)
    observation = vla_ros.Observation(
        stamp_ns=0,
        images={camera.name: read(camera) for camera in policy.contract.cameras},
        state=np.array([JOINTS], dtype=np.float32),
        instruction="pick up the green cube",
    )
    chunk = policy.infer(observation)
    print(f"{len(chunk.actions)} actions, {chunk.step_ns / 1e9:g} s apart, for {', '.join(chunk.names)}")
    for due_ns, action in zip(chunk.due_ns, chunk.actions, strict=True):
        print(f"{due_ns / 1e9:5.2f} s  " + " ".join(f"{value:6.2f}" for value in action))


if __name__ == "__main__":
    main()
