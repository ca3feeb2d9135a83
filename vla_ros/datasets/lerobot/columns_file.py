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
    """The file's content. columns: of both state and action, in order."""

    columns: tuple[Column, ...]
    version: Literal[1] = 1


def write_columns(folder: Path, columns: tuple[Column, ...]) -> None:
    """Write the file into a dataset; its folder `meta` must exist."""
    (folder / FILE).write_text(json.dumps(to_plain(ColumnsFile(columns)), indent=1) + "\n")


def read_columns(folder: Path) -> tuple[Column, ...]:
    """Return the columns; empty if there is no such file. ConfigError if the file is invalid."""
    path = inside(folder, FILE)
    if not path.is_file():
        return ()
    return parse(read_json(path, MAX_BYTES), ColumnsFile, str(path)).columns
