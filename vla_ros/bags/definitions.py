"""The text and the hash of a message type, which a bag holds so that others can read it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vla_ros.bags.reader import BagError

_TYPES = get_typestore(Stores.ROS2_KILTED)


@cache
def definition_of(name: str) -> tuple[str, str]:
    """(definition, RIHS01 hash) of a type such as std_msgs/msg/String; other packages' types come from their share."""
    _learn(name)
    definition, _ = _TYPES.generate_msgdef(name, ros_version=2)
    return definition, _TYPES.hash_rihs01(name)


def _learn(name: str) -> None:
    """Make `name`, and what it holds, known to rosbags where they are not part of ROS 2 itself."""
    if name in _TYPES.fielddefs:
        return
    try:
        package, kind, short = name.split("/")
        found = get_types_from_msg((_share(package) / kind / f"{short}.msg").read_text(encoding="utf-8"), name)
    except (ImportError, LookupError, OSError, ValueError) as error:
        raise BagError(f"the type {name} is neither part of ROS 2 nor installed here: {error}") from error
    _TYPES.register(found)
    for _, fields in found.values():
        for _, field in fields:
            for inner in _names(field):
                _learn(inner)


def _names(field: Any) -> Iterator[str]:
    """The types that a field is made of, below arrays and sequences."""
    node, detail = field
    if node == Nodetype.NAME:
        yield detail
    elif node != Nodetype.BASE:
        yield from _names(detail[0])


def _share(package: str) -> Path:
    from ament_index_python.packages import get_package_share_directory

    return Path(get_package_share_directory(package))
