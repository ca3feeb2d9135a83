"""Dataset formats that bags are exported to, ours and those of installed packages.

A format is one module with `open_writer(out, layout)`. Another package adds one with an entry point in the group
`vla_ros.dataset_formats` that names such a module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vla_ros.bags.episodes.assembly import Frame
from vla_ros.core.columns import Column
from vla_ros.core.errors import ConfigError
from vla_ros.core.plugins import known_plugins, load_plugin

GROUP = "vla_ros.dataset_formats"
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
        """Take one frame."""

    def close(self) -> dict[str, Any]:
        """Complete the dataset; return figures about it."""

    def abandon(self) -> None:
        """Leave nothing behind."""


def open_writer(name: str, out: Path, layout: Layout) -> Writer:
    """Return a writer of the format `name` into the folder `out`, which must not exist yet."""
    try:
        module = load_plugin(GROUP, name, FORMATS)
    except ConfigError as error:
        raise ConfigError(f"--format {error}") from error
    if out.exists():
        raise ConfigError(f"{out}: exists already; name a new folder")
    make: Callable[[Path, Layout], Writer] = module.open_writer
    return make(out, layout)


def known_formats() -> tuple[str, ...]:
    """Return the names of all formats, ours first."""
    return known_plugins(GROUP, FORMATS)
