"""What goes wrong with messages: each function takes a good one and gives what is published in its place, or None."""

from __future__ import annotations

import array
import io
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image as Pillow

from vla_ros.ros.images import array_to_compressed, array_to_image

Alter = Callable[[Any], Any]
BOMB_SIDE = 20_000  # pixels: 1.2 GB where it is unpacked


def mute(_: Any) -> None:
    """Nothing."""


class Frozen:
    """The first message again and again, stamp and all."""

    def __init__(self) -> None:
        self._first: Any = None

    def __call__(self, message: Any) -> Any:
        self._first = self._first or message
        return self._first


class Late:
    """Every message, `count` messages later."""

    def __init__(self, count: int) -> None:
        self._waiting: deque[Any] = deque(maxlen=count + 1)

    def __call__(self, message: Any) -> Any:
        self._waiting.append(message)
        return self._waiting[0] if len(self._waiting) == self._waiting.maxlen else None


def ahead(message: Any) -> Any:
    """The stamp of a clock that is a second fast."""
    message.header.stamp.sec += 1
    return message


def with_fields(**values: Any) -> Alter:
    """An image whose header says something else."""

    def alter(message: Any) -> Any:
        for name, value in values.items():
            setattr(message, name, value)
        return message

    return alter


def short(message: Any) -> Any:
    """Half of the data."""
    message.data = message.data[: len(message.data) // 2]
    return message


def resized(message: Any) -> Any:
    """A camera that somebody set to another resolution, raw or compressed."""
    make: Callable[..., Any] = array_to_image if hasattr(message, "step") else array_to_compressed
    other = make(np.zeros((48, 96, 3), dtype=np.uint8), 0)
    other.header = message.header
    return other


class Bomb:
    """A small PNG that would unpack to 1.2 GB."""

    def __init__(self) -> None:
        buffer = io.BytesIO()
        Pillow.new("1", (BOMB_SIDE, BOMB_SIDE)).save(buffer, "PNG")
        self._data = array.array("B")
        self._data.frombytes(buffer.getvalue())

    def __call__(self, message: Any) -> Any:
        message.format, message.data = "png", self._data
        return message


def noise(message: Any) -> Any:
    """Bytes that are no picture."""
    data = np.random.default_rng(0).integers(0, 255, len(message.data), dtype=np.uint8)
    message.data = array.array("B")
    message.data.frombytes(data.tobytes())
    return message


def spoiled(column: int, value: float) -> Alter:
    """One number of a plan, in its fourth action."""

    def alter(message: Any) -> Any:
        message.points[3].positions[column] = value
        return message

    return alter


def shifted(column: int, by: float) -> Alter:
    """The whole plan of one joint."""

    def alter(message: Any) -> Any:
        for point in message.points:
            point.positions[column] += by
        return message

    return alter


def renamed(message: Any) -> Any:
    """A plan for a joint that the robot lacks."""
    message.joint_names[0] = "rail_joint"
    return message


def not_a_number(message: Any) -> Any:
    """A joint whose encoder fails."""
    message.position[1] = float("nan")
    return message


def lacking(message: Any) -> Any:
    """A joint is missing."""
    del message.name[2], message.position[2]
    return message


def with_one_more(message: Any) -> Any:
    """A joint that the contract does not know, in the first place."""
    message.name, message.position = ["rail_joint", *message.name], [9.0, *message.position]
    return message


def reversed_order(message: Any) -> Any:
    """The same joints in another order."""
    message.name, message.position = message.name[::-1], message.position[::-1]
    return message


def zeros(message: Any) -> Any:
    """A driver that has lost its robot, or another joint state publisher."""
    message.position = [0.0] * len(message.position)
    return message


def in_degrees(message: Any) -> Any:
    """A driver that was scaled."""
    message.position = [float(value) for value in np.degrees(message.position)]
    return message


def wrapped(message: Any) -> Any:
    """A joint that is reported in another turn."""
    message.position[5] += 2 * math.pi
    return message


def swapped(message: Any) -> Any:
    """Two joints that were mixed up."""
    message.position[0], message.position[2] = message.position[2], message.position[0]
    return message


class Standing:
    """The positions of the first message for ever, with the stamps of now."""

    def __init__(self) -> None:
        self._first: Any = None

    def __call__(self, message: Any) -> Any:
        self._first = self._first or list(message.position)
        message.position = self._first
        return message


class Now:
    """Another alteration of every `every`-th message only."""

    def __init__(self, alter: Alter, every: int) -> None:
        self._alter, self._every, self._number = alter, every, 0

    def __call__(self, message: Any) -> Any:
        self._number += 1
        return self._alter(message) if self._number % self._every == 0 else message
