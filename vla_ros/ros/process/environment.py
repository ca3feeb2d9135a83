"""What ROS reads from the environment before it starts: each wrong value as one line that says what to do.

Without rclpy: where the middleware is absent, importing it ends the process before any of our lines could be printed.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from vla_ros.core.errors import ConfigError
from vla_ros.core.paths import share_folder
from vla_ros.core.text import name_of

MIDDLEWARES = (
    "rmw_fastrtps_cpp",
    "rmw_fastrtps_dynamic_cpp",
    "rmw_cyclonedds_cpp",
    "rmw_zenoh_cpp",
    "rmw_connextdds",
)
# Where Fast DDS looks for its profile: version 3 (Kilted) under the first name, version 2 (Jazzy) under the second.
PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
MAX_DOMAIN = 232  # above it, DDS has no port numbers left
USER_ERROR = 2
# What to do about each of our lines, by the variable that it names.
ADVICE = {
    "RMW_IMPLEMENTATION": "unset RMW_IMPLEMENTATION, or install that middleware beside ROS",
    "ROS_DOMAIN_ID": "unset ROS_DOMAIN_ID, or set a whole number: 0 to 101 on any machine",
    "ROS_LOG_DIR": "set ROS_LOG_DIR to a folder you may write to",
}


def refuse_middleware() -> None:
    """End the process with one line if rclpy cannot be imported because the chosen middleware is missing."""
    try:
        check_middleware(os.environ)
    except ConfigError as error:
        print(f"vla_ros: error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)


def use_profile(variables: MutableMapping[str, str]) -> None:
    """Name our DDS profile, or the one that the user chose, whatever the version of Fast DDS calls it.

    A process reads it once, with its first node; without it, a third or more of images above 0.5 MB are lost.
    """
    for name in PROFILES:
        variables[name] = chosen_profile(variables) or str(own_profile())


def own_profile() -> Path:
    """Return the file of the package's own DDS profile."""
    return share_folder() / "config" / "dds" / "fastdds.xml"


def chosen_profile(variables: Mapping[str, str]) -> str | None:
    """Return the DDS profile that the environment names; None if it names none."""
    return next(filter(None, map(variables.get, PROFILES)), None)


def check_environment(variables: Mapping[str, str]) -> None:
    """Raise ConfigError for the first variable that names something missing."""
    check_middleware(variables)
    _check_domain(variables.get("ROS_DOMAIN_ID", ""))
    _check_log_folder(log_folder(variables))


def log_folder(variables: Mapping[str, str]) -> Path:
    """Return where rcl writes its logs: ROS_LOG_DIR, else ROS_HOME/log, else ~/.ros/log."""
    if folder := variables.get("ROS_LOG_DIR"):
        return Path(folder).expanduser()
    return Path(variables.get("ROS_HOME") or "~/.ros").expanduser() / "log"


def check_middleware(variables: Mapping[str, str]) -> None:
    """Raise ConfigError if RMW_IMPLEMENTATION names one that is not installed."""
    name = variables.get("RMW_IMPLEMENTATION", "")
    if name and not _is_installed(name):
        there = ", ".join(known for known in MIDDLEWARES if _is_installed(known)) or "none that is known"
        raise ConfigError(
            f"RMW_IMPLEMENTATION is '{name_of(name)}', which is not installed here (installed: {there}); "
            "unset it, or install that middleware"
        )


def _is_installed(name: str) -> bool:
    """Return whether a middleware is installed, as a Python package (wheels) or as a library that the loader finds."""
    if not name.isidentifier():
        return False
    if importlib.util.find_spec(name) is not None:
        return True
    try:
        ctypes.CDLL(f"lib{name}.so")
    except OSError:
        return False
    return True


def _check_domain(text: str) -> None:
    if text and not (text.isascii() and text.isdigit() and int(text[:9]) <= MAX_DOMAIN and len(text) < 10):
        raise ConfigError(
            f"ROS_DOMAIN_ID is '{name_of(text)}', must be a whole number from 0 to {MAX_DOMAIN}; unset it"
        )


def _check_log_folder(folder: Path) -> None:
    """Refuse a folder if it, or its nearest existing parent, cannot be written to."""
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        usable = there.is_dir() and os.access(there, os.W_OK | os.X_OK) and not _is_read_only(there)
    except OSError as error:
        raise ConfigError(
            f"log folder {folder}: {error.strerror}; set ROS_LOG_DIR to a folder you may write to"
        ) from None
    if not usable:
        raise ConfigError(f"log folder {folder} cannot be written; set ROS_LOG_DIR to a folder you may write to")


def _is_read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
