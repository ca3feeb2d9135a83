"""Reads metadata.yaml. Nothing depends on it: the storage files hold the same information, and the data."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any

from vla_ros.core.config import MAX_BYTES, load_yaml
from vla_ros.core.errors import ConfigError

FILE = "metadata.yaml"
_DEEPEST = 100


def metadata_problem(bag: Path) -> str:
    """Return why other tools cannot read a bag's metadata.yaml; empty if they can, or if the file is absent."""
    return _read(bag)[1]


def compression(bag: Path) -> tuple[str, str]:
    """Return (mode, format) as rosbag2 wrote them, such as ("message", "zstd"); empty if not stated."""
    said = _read(bag)[0]
    mode, form = (said.get(f"compression_{key}") for key in ("mode", "format"))
    return str.lower(mode) if isinstance(mode, str) else "", str.lower(form) if isinstance(form, str) else ""


def _read(bag: Path) -> tuple[dict[str, Any], str]:
    file = bag / FILE
    if not bag.is_dir() or not (file.exists() or file.is_symlink()):
        return {}, ""
    try:
        if not file.is_file():
            return {}, f"{FILE} is not a regular file"
        if file.stat().st_size <= MAX_BYTES and _is_bomb(file.read_text(encoding="utf-8", errors="replace")):
            return {}, f"{FILE} is nested as no bag's is"
        said = load_yaml(file)
    except (ConfigError, OSError) as error:
        return {}, str(error).removeprefix(f"{file}: ").join((f"{FILE}: ", ""))
    found = said.get("rosbag2_bagfile_information") if isinstance(said, dict) else None
    return (found, "") if isinstance(found, dict) else ({}, f"{FILE} is empty or no bag's")


def _is_bomb(text: str) -> bool:
    """Detect merges, which expand exponentially, and nested brackets, which parse quadratically: no bag has them."""
    depths = accumulate(1 if sign in "[{" else -1 for sign in text if sign in "[]{}")
    return "<<" in text or max(depths, default=0) > _DEEPEST
