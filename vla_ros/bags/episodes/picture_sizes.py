"""How large a bag's pictures are, for cameras whose size the robot's YAML leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from vla_ros.bags.contract_topics import by_contract
from vla_ros.bags.inputs import timed
from vla_ros.bags.reading.reader import Bag, open_bag
from vla_ros.core.errors import ConfigError, MessageError
from vla_ros.core.robot import CameraSpec, RobotSpec
from vla_ros.core.streams.image_fit import framed
from vla_ros.ros.ingest import camera_source, picture

TRIED = 100  # messages of a camera, until one holds a picture


def picture_sizes(
    bags: Sequence[Path], robot: RobotSpec, cameras: Sequence[str], remap: Mapping[str, str]
) -> dict[str, tuple[int, int]]:
    """Return height and width after crop and rotate, by camera: as the YAML says, else of the bags' first picture.

    ConfigError if no bag has one.
    """
    found = {name: size for name in cameras if (size := robot.camera(name).size)}
    for path in bags:
        if missing := [robot.camera(name) for name in cameras if name not in found]:
            with open_bag(path) as bag:
                view = by_contract(bag, robot, remap)
                found |= {camera.name: size for camera in missing if (size := _first(view, camera))}
    if lacking := [name for name in cameras if name not in found]:
        raise ConfigError(f"camera '{lacking[0]}': no picture in any bag; its size is unknown")
    return found


def _first(bag: Bag, camera: CameraSpec) -> tuple[int, int] | None:
    topic = camera_source(camera).topic
    for _, message, _ in islice(timed(bag, (topic,), False, lambda *_: None), TRIED):
        try:
            height, width = framed(picture(camera, message), camera).shape[:2]
        except MessageError:
            continue
        return height, width
    return None
