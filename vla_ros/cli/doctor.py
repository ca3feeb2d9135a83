"""Check that this machine has what vla_ros needs: Python, ROS, DDS profile, rendering, torch, models; with advice."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console

from vla_ros.core.errors import VlaRosError
from vla_ros.core.paths import share_folder
from vla_ros.ros.process.environment import ADVICE, PROFILES, chosen_profile, own_profile

# Each runs in its own Python process: a broken driver may end the process instead of raising.
ROS_SCRIPT = """
import os, sys
from vla_ros.core.errors import VlaRosError
from vla_ros.ros.process.environment import check_environment
try:
    check_environment(os.environ)  # before rclpy is imported, which may end the process
    import rclpy
    from vla_ros.ros.process.starting import start_ros
    start_ros(domain_id=100)
except VlaRosError as error:
    sys.exit(str(error))
node = rclpy.create_node('vla_ros_doctor')
from rclpy.utilities import get_rmw_implementation_identifier
print(get_rmw_implementation_identifier())
node.destroy_node(); rclpy.try_shutdown()
"""
RENDER_SCRIPT = """
from vla_ros.sim.tabletop.world import Tabletop
tabletop = Tabletop()
tabletop.reset(0, 'reach_red')
frame = tabletop.render('front', 64, 64)
assert frame.std() > 1, 'the frame is empty'
print(f'front camera drawn, {frame.shape[1]}x{frame.shape[0]}')
tabletop.close()
"""
TORCH_SCRIPT = """
import torch
torch.ones(8, 8) @ torch.ones(8, 8)
cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else 'no CUDA'
print(f'{torch.__version__}, {torch.get_num_threads()} threads, {cuda}')
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its name, whether it passed, what was found, and what to do if it failed."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vla-ros doctor`."""
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Return 0 if every check passed, else 1."""
    findings = [check() for check in CHECKS]
    healthy = all(finding.ok for finding in findings)
    if args.json:
        print(json.dumps({"ok": healthy, "findings": [asdict(finding) for finding in findings]}))
    else:
        _show(findings)
    return 0 if healthy else 1


def _show(findings: list[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        mark = "[green]ok  [/green]" if finding.ok else "[red]FAIL[/red]"
        console.print(f"{mark} {finding.name:<10}", end=" ")
        console.print(finding.detail, markup=False)
        if not finding.ok:
            console.print(f"                {finding.advice}", markup=False)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    advice = "use Python 3.11 to 3.14: make setup PYTHON=python3.11"
    return Finding("python", (3, 11) <= sys.version_info[:2] <= (3, 14), f"{version}, {sys.executable}", advice)


def _ros() -> Finding:
    found = _script("ros", ROS_SCRIPT, "make setup, or source /opt/ros/DISTRO/setup.bash")
    advice = next((advice for named, advice in ADVICE.items() if named in found.detail), found.advice)
    return replace(found, advice=advice)


def _dds() -> Finding:
    chosen = chosen_profile(os.environ)
    path = Path(chosen or own_profile())
    try:
        ElementTree.parse(path)
    except (OSError, ElementTree.ParseError) as error:
        return Finding("dds", False, f"{path}: {error}", f"unset {' and '.join(PROFILES)}, or name a Fast DDS profile")
    return Finding("dds", True, f"{path} ({'from the environment' if chosen else 'our own'})")


def _rendering() -> Finding:
    return _script("rendering", RENDER_SCRIPT, "apt-get install libegl1 libgl1-mesa-dri, or try MUJOCO_GL=osmesa")


def _torch() -> Finding:
    return _script("torch", TORCH_SCRIPT, "pip install -c constraints.txt -r requirements.txt")


def _models() -> Finding:
    from vla_ros.policies.loading import load_policy

    folders = sorted(path.parent for path in (share_folder() / "models").glob("*/config.yaml"))
    broken = []
    for folder in folders:
        try:
            load_policy(folder)
        except VlaRosError as error:
            broken.append(str(error))
    names = ", ".join(folder.name for folder in folders) or "none"
    advice = "fetch the file again (git checkout models), or train the model: vla-ros train --help"
    return Finding("models", bool(folders) and not broken, "; ".join(broken) or names, advice)


def _script(name: str, script: str, advice: str) -> Finding:
    command = [sys.executable, "-P", "-c", script]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return Finding(name, False, "no answer within 60 s", advice)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or [f"exit {done.returncode}"]
    return Finding(name, done.returncode == 0, lines[-1], advice)


CHECKS: tuple[Callable[[], Finding], ...] = (_python, _ros, _dds, _torch, _rendering, _models)
