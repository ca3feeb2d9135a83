"""Small checks that the dataclasses of a configuration share."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vla_ros.core.errors import ConfigError


def positive(name: str, value: float) -> None:
    """Refuse a value that is not above 0."""
    if not value > 0:
        raise ConfigError(f"{name} must be > 0, got {value}")


def within(config: object, **bounds: tuple[float, float]) -> None:
    """Refuse a config if a named field lies outside its bounds, both included."""
    for name, (least, most) in bounds.items():
        value = getattr(config, name)
        if not least <= value <= most:
            raise ConfigError(f"{name} must be {least} to {most}, got {value}")


def unique(what: str, names: Iterable[str]) -> None:
    """Refuse an empty list and doubled or empty names."""
    listed = list(names)
    if not listed:
        raise ConfigError(f"{what} must have at least one entry, got none")
    for name in listed:
        if not name.strip():
            raise ConfigError(f"{what}: names must not be empty, got {name!r}")
        if listed.count(name) > 1:
            raise ConfigError(f"{what}: the name '{name}' is given twice; names must differ")


def topic(name: str) -> None:
    """Refuse what ROS 2 would not take as a topic's name."""
    if not re.fullmatch(r"(~?/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", name, re.ASCII):
        raise ConfigError(f"topic '{name}' is not a ROS name; use letters, digits, '_' and '/', as in /a/b_1")


def camera_name(name: str) -> None:
    """Refuse a camera's name that is not one word of ASCII: it becomes a folder, a dataset's key and a topic."""
    if not re.fullmatch(r"[A-Za-z_]\w{0,63}", name, re.ASCII):
        raise ConfigError(
            f"camera name {name[:80]!r} must be 1 to 64 letters, digits and '_', and not begin with a digit; "
            "it names a folder, a dataset's key and a topic"
        )
