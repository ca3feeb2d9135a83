"""`meta/info.json` of a LeRobotDataset, checked against the format, since it is untrusted input."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_ros.core.errors import ConfigError
from vla_ros.core.json_files import read_json
from vla_ros.core.paths import inside

VERSION = "v3.0"
INFO = "meta/info.json"
MAX_FPS = 1000
MAX_FRAMES = 100_000_000
MAX_COLUMNS = 10_000
_FIELD = re.compile(r"\{(\w+)(:(?:0\d)?d)?\}")  # {name}, {name:d}, {name:03d}


@dataclass(frozen=True, slots=True)
class Feature:
    """A column. names: of its elements, if known. is_depth: whether images show depth instead of colour."""

    dtype: str
    names: tuple[str, ...] | None
    is_depth: bool = False

    @property
    def is_picture(self) -> bool:
        """Return whether it holds colour images."""
        return self.dtype in ("video", "image") and not self.is_depth


@dataclass(frozen=True, slots=True)
class Info:
    """The part of the file that the reader needs. video_path: path pattern of the videos, if any."""

    folder: Path
    fps: int
    episodes: int
    frames: int
    features: Mapping[str, Feature]
    video_path: str | None

    def video_file(self, key: str, chunk: int, file: int) -> Path:
        """Return the path of a camera's video; ConfigError if the pattern leads out of the dataset."""
        if self.video_path is None:
            raise ConfigError(f"{self.folder / INFO}: video_path is missing, but '{key}' is a video")
        relative = filled(self.video_path, self.folder / INFO, video_key=key, chunk_index=chunk, file_index=file)
        return inside(self.folder, relative)


def read_info(folder: Path) -> Info:
    """Read and check the file. Raise ConfigError with one line on what is wrong."""
    path = folder / INFO
    found = read_json(inside(folder, INFO))
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: must be an object, got {_named(found)}")
    _check_version(path, found.get("codebase_version"))
    features = found.get("features")
    if not isinstance(features, dict):
        raise ConfigError(f"{path}: features must be an object, got {_named(features)}")
    pattern = found.get("video_path")
    if not (pattern is None or isinstance(pattern, str)):
        raise ConfigError(f"{path}: video_path must be text, got {_named(pattern)}")
    return Info(
        folder,
        _number(path, found, "fps", 1, MAX_FPS),
        _number(path, found, "total_episodes", 1, MAX_FRAMES),
        _number(path, found, "total_frames", 1, MAX_FRAMES),
        {key: _feature(path, key, feature) for key, feature in features.items()},
        pattern,
    )


def _check_version(path: Path, version: Any) -> None:
    if version == VERSION:
        return
    advice = ""
    if isinstance(version, str) and version.startswith("v2"):
        advice = (
            "; convert it with LeRobot's python -m lerobot.scripts.convert_dataset_v21_to_v30 "
            f"--repo-id=OWNER/NAME --root={path.parent.parent} --push-to-hub=false"
        )
        if version != "v2.1":
            advice += " (it takes v2.1: an older LeRobot converts to that)"
    raise ConfigError(f"{path}: codebase_version must be {VERSION}, got {_named(version)}{advice}")


def _feature(path: Path, key: str, feature: Any) -> Feature:
    if not key.isprintable():
        raise ConfigError(f"{path}: the name of feature {_named(key)} holds control characters")
    if not isinstance(feature, dict) or not isinstance(feature.get("dtype"), str):
        raise ConfigError(f"{path}: feature {_named(key)} must be an object with a dtype")
    about = feature.get("info")
    about = about if isinstance(about, dict) else {}
    is_depth = about.get("is_depth_map", about.get("video.is_depth_map", False)) is True
    return Feature(feature["dtype"], _names(path, key, feature.get("names")), is_depth)


def _names(path: Path, key: str, names: Any) -> tuple[str, ...] | None:
    """Return a list of names, or a dict of one list; None for anything else, as it may be for pictures."""
    if isinstance(names, dict) and len(names) == 1:
        (names,) = names.values()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    if len(set(names)) < len(names) or not all(name and name.isprintable() for name in names):
        raise ConfigError(f"{path}: names of feature {_named(key)} must differ, and hold no control characters")
    return tuple(names)


def filled(pattern: str, where: Path, **values: str | int) -> str:
    """Fill in a path pattern's placeholders, `{name}` or `{name:03d}` of the known names, and nothing else.

    `str.format` would evaluate attributes and widths from an untrusted file.
    """

    def fill(match: re.Match[str]) -> str:
        name, form = match[1], match[2]
        if name not in values or (form and isinstance(values[name], str)):
            raise ConfigError(f"{where}: the path pattern holds {match[0]!r}; known: {', '.join(values)}")
        return str(values[name]).zfill(int(form[1:-1] or 0) if form else 0)

    rest = _FIELD.sub("", pattern)
    if "{" in rest or "}" in rest or not pattern.isprintable():
        raise ConfigError(
            f"{where}: path pattern {pattern[:80]!r} is not understood; known placeholders: "
            + ", ".join(f"{{{name}}}" for name in values)
        )
    return _FIELD.sub(fill, pattern)


def _number(path: Path, found: dict[str, Any], name: str, lowest: int, highest: int) -> int:
    value = found.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # some versions of LeRobot wrote fps as 10.0
    if type(value) is not int or not lowest <= value <= highest:
        raise ConfigError(f"{path}: {name} must be a whole number from {lowest} to {highest}, got {_named(value)}")
    return value


def _named(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
