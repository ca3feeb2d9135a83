"""`vla-ros launch`: find the file, parse key:=value, and use `ros2 launch` or the built-in launcher."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.paths import share_folder
from vla_ros.launcher.output import Screen
from vla_ros.launcher.resolving import declared_arguments, resolve
from vla_ros.launcher.supervisor import Supervisor

SUFFIX = ".launch.yaml"


def launch(file: str, words: Sequence[str], *, own: bool = False, to_return: bool = False) -> int:
    """Run a launch file to its end. If `ros2 launch` takes over, it replaces this process unless `to_return`."""
    path = find_launch_file(file)
    arguments = parse_arguments(words)
    if own or not ros2_knows_us():
        return Supervisor(resolve(path, arguments, os.environ), Screen()).run()
    command = ["ros2", "launch", str(path), *words]
    if to_return:
        return subprocess.run(command, check=False).returncode
    os.execvp(command[0], command)


def describe_arguments(file: str) -> str:
    """Return the arguments of a launch file, one per line, with default and description."""
    lines = []
    for arg in declared_arguments(find_launch_file(file)):
        default = "required" if arg.default is None else f"default '{arg.default}'"
        lines.append(f"  {arg.name}: {arg.description} ({default})")
    return "\n".join(["arguments, given as key:=value:", *lines])


def find_launch_file(file: str) -> Path:
    """Return a path as it is; look up a bare name, with or without `.launch.yaml`, in the package's launch folder."""
    path = Path(file)
    if path.is_file():
        return path.resolve()
    folder = share_folder() / "launch"
    known = sorted(found.name for found in folder.glob(f"*{SUFFIX}"))
    for name in (file, file + SUFFIX):
        if name in known:
            return folder / name
    raise ConfigError(f"{file}: no such launch file{did_you_mean(path.name, known)}")


def parse_arguments(words: Sequence[str]) -> dict[str, str]:
    """Return `key:=value` words as a mapping; a repeated key takes its last value, as in `ros2 launch`."""
    arguments = {}
    for word in words:
        name, separator, value = word.partition(":=")
        if not (name and separator and value):
            raise ConfigError(f"launch argument must be key:=value, got '{word}'")
        arguments[name] = value
    return arguments


def ros2_knows_us() -> bool:
    """Return whether `ros2 launch` is installed and this package is built in a sourced workspace."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    marker = Path("share/ament_index/resource_index/packages/vla_ros")
    return shutil.which("ros2") is not None and any((Path(prefix) / marker).exists() for prefix in prefixes if prefix)
