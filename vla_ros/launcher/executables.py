"""Command lines of nodes: ours run as Python modules, others from their installed `lib` folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import vla_ros
from vla_ros.core.errors import ConfigError, did_you_mean


def executable_command(package: str, executable: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the command line that starts `executable` of `package`, without ROS arguments."""
    if package == "vla_ros":
        # -P: never import modules from the current folder.
        return (sys.executable, "-P", "-m", _own_module(executable))
    prefixes = environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    for prefix in filter(None, prefixes):
        path = Path(prefix) / "lib" / package / executable
        if os.access(path, os.X_OK):
            return (str(path),)
    raise ConfigError(
        f"package '{package}' has no executable '{executable}' in AMENT_PREFIX_PATH; source the workspace that holds it"
    )


def _own_module(executable: str) -> str:
    nodes = Path(vla_ros.__file__).parent / "nodes"
    known = [path.stem for path in nodes.glob("*.py") if path.stem != "__init__"]
    if executable not in known:
        raise ConfigError(f"package 'vla_ros' has no executable '{executable}'{did_you_mean(executable, known)}")
    return f"vla_ros.nodes.{executable}"
