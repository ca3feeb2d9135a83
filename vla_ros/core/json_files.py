"""JSON files that users and strangers give us: plain data, or a ConfigError of one line that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vla_ros.core.errors import ConfigError
from vla_ros.core.strict_json import MAX_BYTES, load_json


def read_json(path: Path, limit: int = MAX_BYTES) -> Any:
    """Read a JSON file of at most `limit` bytes; give the result to `core.config.parse` to hold it to a dataclass."""
    try:
        return load_json(path, limit)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: cannot be read as JSON: {error}") from None
