"""Starting rclpy: where it cannot, one line that says what is wrong and what to do."""

from __future__ import annotations

import os
import re
from typing import Any

import rclpy

from vla_ros.core.errors import ConfigError
from vla_ros.core.text import shorten
from vla_ros.ros.process.environment import check_environment, log_folder, use_profile


def start_ros(**options: Any) -> None:
    """Call `rclpy.init`; ConfigError if the environment or the command line prevent it."""
    check_environment(os.environ)
    use_profile(os.environ)
    try:
        rclpy.init(**options)
    except RuntimeError as error:
        said = re.sub(r",? at /\S+", "", str(error))  # places in rcl's own source
        folder = log_folder(os.environ)
        advice = f"; set ROS_LOG_DIR to a folder you may write to, not {folder}" if "logging" in said else ""
        raise ConfigError(f"ROS does not start: {shorten(said)}{advice}") from None
