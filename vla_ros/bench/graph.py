"""`vla-ros bench graph`: latency from camera to command through real nodes."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from vla_ros.bench.random_uwm import write_random_model
from vla_ros.core.checks import within
from vla_ros.core.config import to_plain
from vla_ros.core.errors import ConfigError
from vla_ros.core.robot import CameraSpec, RobotSpec, load_robot
from vla_ros.core.streams.image_fit import fitted
from vla_ros.launcher.running import launch
from vla_ros.media.sample_picture import sample_picture
from vla_ros.ros.images import array_to_compressed, array_to_image
from vla_ros.ros.ingest import picture

NAMES = ("front", "wrist", "side")
ROUNDS = 50


@dataclass(frozen=True, slots=True)
class Scene:
    """What the bench's cameras deliver. size: of the model's pictures. width, height: as they arrive; 0 for `size`."""

    size: int = 224
    cameras: int = 2
    width: int = 0
    height: int = 0
    camera_hz: float = 20.0
    jpeg: bool = False

    def __post_init__(self) -> None:
        within(self, size=(8, 1024), cameras=(1, len(NAMES)), width=(0, 4096), height=(0, 4096), camera_hz=(1, 120))


def bench_graph(scene: Scene, rate_hz: float, seconds: float) -> dict[str, Any]:
    """Launch the scene's cameras, and commands at `rate_hz`; return the bench node's report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_random_model(_robot(scene, rate_hz, scene.size, scene.size), folder / "model")
        robot = _robot(scene, rate_hz, scene.width or scene.size, scene.height or scene.size)
        (folder / "robot.yaml").write_text(yaml.safe_dump(to_plain(robot), sort_keys=False))
        report = folder / "report.json"
        words = {"robot": folder / "robot.yaml", "model": folder / "model", "seconds": float(seconds), "out": report}
        code = launch("bench.launch.yaml", [f"{key}:={value}" for key, value in words.items()], to_return=True)
        if not report.is_file():
            raise ConfigError(f"the bench ended without a report (exit code {code}); the lines above say why")
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return found | {"model_size": scene.size, "one_picture": one_picture(robot.cameras[0], scene.size)}


def _robot(scene: Scene, rate_hz: float, width: int, height: int) -> RobotSpec:
    """Return the tabletop's robot with different cameras and rate."""
    robot = load_robot("ur5e_tabletop")
    cameras = tuple(
        CameraSpec(name, f"/{name}/image_raw", width, height, "rgb8", scene.jpeg, scene.camera_hz)
        for name in NAMES[: scene.cameras]
    )
    return replace(robot, cameras=cameras, command=replace(robot.command, rate_hz=rate_hz), workspace=None)


def one_picture(camera: CameraSpec, size: int) -> dict[str, float]:
    """Return milliseconds of one picture [p50], from the message to the model's size: ours, and OpenCV's plain way."""
    frame = sample_picture(camera.width, camera.height)
    message = array_to_compressed(frame, 1) if camera.compressed else array_to_image(frame, 1)
    data = np.frombuffer(message.data, np.uint8)

    def ours() -> Any:
        return fitted(picture(camera, message), size, size, "stretch")

    def plain() -> Any:
        if camera.compressed:
            return cv2.resize(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1], (size, size))  # type: ignore[index]
        return cv2.resize(data.reshape(frame.shape), (size, size))

    found: dict[str, list[float]] = {"ours_ms": [], "plain_ms": []}
    for _ in range(ROUNDS):  # in turns, so that a busy machine slows both
        for name, way in (("ours_ms", ours), ("plain_ms", plain)):
            started_s = time.perf_counter()
            way()
            found[name].append((time.perf_counter() - started_s) * 1e3)
    return {name: round(float(np.median(times)), 3) for name, times in found.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vla-ros bench graph`."""
    parser.add_argument("--size", type=int, default=224, help="pixels along a side of the model's pictures")
    parser.add_argument("--cameras", type=int, default=2, help="how many, up to three")
    parser.add_argument("--width", type=int, default=0, help="of the pictures as they arrive; without it, --size")
    parser.add_argument("--height", type=int, default=0, help="of the pictures as they arrive; without it, --size")
    parser.add_argument("--camera-rate", type=float, default=20.0, help="pictures per second of each camera")
    parser.add_argument("--jpeg", action="store_true", help="JPEG topics in the place of raw ones")
    parser.add_argument("--rate", type=float, default=200.0, help="commands per second")
    parser.add_argument("--seconds", type=float, default=20.0)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark; return the report."""
    scene = Scene(args.size, args.cameras, args.width, args.height, args.camera_rate, args.jpeg)
    return bench_graph(scene, args.rate, args.seconds)
