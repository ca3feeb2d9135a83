"""JSON as strict as our YAML: one small regular file, no key twice, no NaN, no endless nesting."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from vla_ros.core.files import read_small

MAX_BYTES = 8_000_000
MAX_DEPTH = 64


def load_json(path: Path, limit: int = MAX_BYTES) -> Any:
    """Return the content of a JSON file.

    Raises ValueError with one line that says what is wrong, OSError where the file cannot be read.
    """
    return parse_json(read_small(path, limit))


def parse_json(text: str) -> Any:
    """Return the content of a JSON text; ValueError for a doubled key, NaN, or nesting deeper than MAX_DEPTH."""
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_float=_finite, parse_constant=_finite)
        _check_depth(found)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:80]!r} is given twice; keep one")
        found[key] = value
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:80]} is not a finite number")
    return value


def _check_depth(found: Any) -> None:
    level = [found]
    for _ in range(MAX_DEPTH):
        level = [item for value in level for item in _items(value)]
        if not level:
            return
    raise ValueError(f"nested deeper than {MAX_DEPTH}")


def _items(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
