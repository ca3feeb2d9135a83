"""Strict JSON: plain data without doubled keys or numbers that are none, or one line that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vla_ros.core.errors import ConfigError, VlaRosError

MAX_BYTES = 50_000_000


def read_json(path: Path, max_bytes: int = MAX_BYTES, error: type[VlaRosError] = ConfigError) -> Any:
    """Read a JSON file as strictly as the YAML files are read; `error` says what is wrong with it, and where.

    Give the result to `core.config.parse` to hold it to a dataclass.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise error(f"{path}: not a file")
        if size > max_bytes:
            raise error(f"{path}: {size} bytes; at most {max_bytes} are read")
        return load_json(path.read_text(encoding="utf-8"), str(path), error)
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise error(f"{path}: not UTF-8") from None
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror}") from None


def load_json(text: str, where: str, error: type[VlaRosError] = ConfigError) -> Any:
    """The content of a JSON text; `where` names the source and opens every message."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    except RecursionError:
        raise error(f"{where}: nested too deeply") from None
    except ValueError as problem:
        raise error(f"{where}: not valid JSON: {problem}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice[:80]!r} is given twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")
