"""Dataset formats that bags are exported to. A format is one module with `open_writer(out, layout)`, named here."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vla_ros.bags.episodes.assembly import Frame
from vla_ros.core.columns import Column
from vla_ros.core.errors import ConfigError, did_you_mean

FORMATS = {"lerobot": "vla_ros.datasets.lerobot.writer"}


@dataclass(frozen=True, slots=True)
class Layout:
    """What a dataset holds. cameras: name -> (height, width) [px]. columns: the D columns of states and actions.

    lossless: keep pictures exactly (PNG), not as video.
    """

    robot: str
    fps: int
    cameras: dict[str, tuple[int, int]]
    columns: tuple[Column, ...]
    lossless: bool = False

    @property
    def joints(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)


class Writer(Protocol):
    """Takes frames in order; frames of one episode follow each other."""

    def add(self, frame: Frame) -> None:
        """One frame."""

    def close(self) -> dict[str, Any]:
        """Complete the dataset; what it holds, as figures."""

    def abandon(self) -> None:
        """Leave nothing behind."""


def open_writer(name: str, out: Path, layout: Layout) -> Writer:
    """A writer of the format `name` into the folder `out`, which must not be there yet."""
    if name not in FORMATS:
        raise ConfigError(f"--format '{name}'{did_you_mean(name, FORMATS)}")
    if out.exists():
        raise ConfigError(f"{out}: is there already; right would be the name of a folder to make")
    make: Callable[[Path, Layout], Writer] = importlib.import_module(FORMATS[name]).open_writer
    return make(out, layout)
