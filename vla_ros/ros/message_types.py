"""The Python class of a message type that a bag or the network names: a ROS package's, or none.

A type's name comes from strangers, and importing a module runs it. So only `package/msg/Name` is taken, whose package
the ament index lists as one with messages, and whose Python module lies in the site-packages of that very prefix:
never one of the current folder, and never a module that merely has the right name.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from vla_ros.core.errors import MessageError

INDEX = Path("share/ament_index/resource_index/rosidl_interfaces")
_SHAPE = re.compile(r"([a-z][a-z0-9_]*)/msg/([A-Z][A-Za-z0-9]*)", re.ASCII)
_SITES = ("site-packages", "dist-packages")
_SHOWN = 80  # characters of a name that may be of any length


def message_class(name: str) -> Any:
    """Return the class of a type such as std_msgs/msg/String; MessageError if it is not installed as a ROS message."""
    shape = _SHAPE.fullmatch(name)
    if shape is None:
        raise MessageError(f"{_shown(name)!r} is not a message type; expected the form 'std_msgs/msg/String'")
    return _class(*shape.groups())


@cache
def _class(package: str, short: str) -> Any:
    name = f"{package}/msg/{short}"
    if not any(_holds(prefix, package, short) for prefix in _prefixes()):
        raise MessageError(f"the type {_shown(name)} is not installed here")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), short)
    except (ImportError, AttributeError) as error:
        raise MessageError(f"the type {_shown(name)} is not installed here: {error}") from error


def _prefixes() -> Iterator[Path]:
    """Return where ROS packages may be installed: the sourced workspaces, and this Python where ROS came as wheels."""
    said = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    yield from (Path(prefix) for prefix in (*said, sys.prefix) if os.path.isabs(prefix))


def _holds(prefix: Path, package: str, short: str) -> bool:
    """Return whether `prefix` has the message installed, and importing the package would take it from there."""
    try:
        listed = (prefix / INDEX / package).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return False
    return not {f"msg/{short}.msg", f"msg/{short}.idl"}.isdisjoint(listed) and _comes_from(package, prefix)


def _comes_from(package: str, prefix: Path) -> bool:
    """Return whether Python finds a package in a prefix, without running anything."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    if found is None or found.origin is None:
        return False
    file = Path(os.path.abspath(found.origin))  # as it is on the path: a workspace may be made of links
    right_shape = file.name == "__init__.py" and file.parents[1].name in _SITES
    return right_shape and (file.is_relative_to(prefix) or file.resolve().is_relative_to(prefix.resolve()))


def _shown(name: str) -> str:
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
