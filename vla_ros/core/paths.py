"""Where the package's own data lies: the checkout, or `share/vla_ros` of whatever prefix it was installed into."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from vla_ros.core.errors import ConfigError, did_you_mean


def _candidates() -> Iterator[Path]:
    here = Path(__file__).resolve()
    checkout = here.parents[2]
    if (checkout / "package.xml").is_file() or (checkout / "config" / "robots").is_dir():
        yield checkout
    for parent in here.parents[2:]:
        yield parent / "share" / "vla_ros"
    for prefix in [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]:
        if prefix:
            yield Path(prefix) / "share" / "vla_ros"


def share_folder() -> Path:
    """Return the folder that holds `config/`, `launch/` and `models/`."""
    for folder in _candidates():
        if (folder / "config").is_dir():
            return folder
    raise ConfigError("share/vla_ros was not found; source the workspace's setup file, or run in the checkout")


def find_config(name: Path | str, folder: str) -> Path:
    """Find a file by its path, or by its bare name in the package's `folder` (such as `config/robots`)."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if path.is_file():
            return path
        if not path.is_absolute() and (share_folder() / path).is_file():
            return share_folder() / path
        raise ConfigError(f"{path}: no such file")
    home = share_folder() / folder
    found = home / f"{name}.yaml"
    if not found.is_file():
        known = [file.stem for file in home.glob("*.yaml")]
        raise ConfigError(f"{home}: nothing is called '{name}'{did_you_mean(str(name), known)}")
    return found


def inside(folder: Path, relative: str) -> Path:
    """Return the file `relative` of an untrusted folder; ConfigError if it lies outside, also through a link."""
    path = folder / relative
    try:
        real, home = path.resolve(), folder.resolve()
    except (OSError, RuntimeError, ValueError):
        raise ConfigError(f"{folder}: {relative[:80]!r} is no path") from None
    if not real.is_relative_to(home):
        raise ConfigError(f"{folder}: {relative[:80]!r} leads out of it, to {real}")
    return path
