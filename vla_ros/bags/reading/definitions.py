"""The text and the hash of a message type, stored in a bag so that others can read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

from vla_ros.bags.reading.errors import BagError
from vla_ros.core.printable import printable

_SHAPE = re.compile(r"[a-z][a-z0-9_]*/[a-z]+/[A-Z][A-Za-z0-9_]*", re.ASCII)
_TEXT_MOST = 1_000_000  # characters; the largest message of ROS takes 20 000
_IDL = "=" * 80 + "\nIDL: "  # how writers mark an IDL text
_TYPES = get_typestore(Stores.ROS2_KILTED)


@cache
def definition_of(name: str) -> tuple[str, str]:
    """Return (definition, RIHS01 hash) of a type such as std_msgs/msg/String, from ROS 2 or an installed package."""
    _learn(name)
    definition, _ = _TYPES.generate_msgdef(name, ros_version=2)
    return definition, _TYPES.hash_rihs01(name)


@cache
def definition_in_bag(name: str, text: str) -> tuple[str, str]:
    """Return (definition, RIHS01 hash) from the bag's own text of a type that is not installed here.

    What the text says of other types counts for this one alone. BagError if it does not describe the type.
    """
    shown = printable(name, 80)
    if _SHAPE.fullmatch(name) is None or not 0 < len(text) <= _TEXT_MOST:
        raise BagError(f"the type {shown} is not installed here, and the bag does not define it")
    types = get_typestore(Stores.ROS2_KILTED)
    try:
        found = get_types_from_idl(text) if text.startswith(_IDL) else get_types_from_msg(text, name)
        types.register({key: fields for key, fields in found.items() if key not in types.fielddefs})
        types.generate_msgdef(name, ros_version=2)
        return text, types.hash_rihs01(name)
    except (TypesysError, KeyError, ValueError, TypeError, AssertionError, RecursionError) as error:
        said = printable(" ".join(str(error).split()), 120)
        raise BagError(f"the type {shown} is not installed here, and the bag's text of it is wrong: {said}") from error


def _learn(name: str) -> None:
    """Teach rosbags `name` and the types it contains, if they are not part of ROS 2 itself."""
    if name in _TYPES.fielddefs:
        return
    if _SHAPE.fullmatch(name) is None:  # it names a file below
        raise BagError(f"{printable(name, 80)!r} is no message type; expected the form 'std_msgs/msg/String'")
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
    """Yield the types that a field is made of, below arrays and sequences."""
    node, detail = field
    if node == Nodetype.NAME:
        yield detail
    elif node != Nodetype.BASE:
        yield from _names(detail[0])


def _share(package: str) -> Path:
    from ament_index_python.packages import get_package_share_directory

    return Path(get_package_share_directory(package))
