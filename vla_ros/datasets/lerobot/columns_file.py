"""`meta/vla_ros.json`: what the columns of an exported dataset are. LeRobot ignores it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vla_ros.core.columns import Column
from vla_ros.core.config import parse, to_plain
from vla_ros.core.json_files import read_json
from vla_ros.core.paths import inside

FILE = "meta/vla_ros.json"
MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class ColumnsFile:
    """Its content. columns: of state and action alike, in their order."""

    columns: tuple[Column, ...]
    version: Literal[1] = 1


def write_columns(folder: Path, columns: tuple[Column, ...]) -> None:
    """Write it into a dataset whose folder `meta` exists."""
    (folder / FILE).write_text(json.dumps(to_plain(ColumnsFile(columns)), indent=1) + "\n")


def read_columns(folder: Path) -> tuple[Column, ...]:
    """Return the columns; empty if a dataset does not tell them. ConfigError if it tells nonsense."""
    path = inside(folder, FILE)
    if not path.is_file():
        return ()
    return parse(read_json(path, MAX_BYTES), ColumnsFile, str(path)).columns
