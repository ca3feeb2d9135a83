"""The embedded MuJoCo tabletop, its tasks and its scripted expert. There is no ROS and no torch in here."""

from __future__ import annotations

import os

# Unset, MuJoCo asks for a window system, which a robot's computer rarely has; EGL also renders on a CPU (Mesa).
os.environ.setdefault("MUJOCO_GL", "egl")
