"""The package as others meet it: its declarations agree with each other, and colcon and pip install all of it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROSDEP = {  # pip name -> rosdep key; None where rosdistro has no key (package.xml says so in a comment)
    "aiohttp": "python3-aiohttp",
    "diffusers": None,
    "einops": "python3-einops-pip",
    "hypothesis": "python3-hypothesis",
    "mujoco": "python3-mujoco-pip",
    "numpy": "python3-numpy",
    "opencv-python-headless": "python3-opencv",
    "pillow": "python3-pil",
    "pytest": "python3-pytest",
    "pyyaml": "python3-yaml",
    "rich": "python3-rich",
    "mcap": None,
    "rosbags": None,
    "ruckig": None,
    "safetensors": None,
    "torch": "python3-pytorch-pip",
    "transformers": "python3-transformers-pip",
}
# Triton comes with torch's CUDA builds, and is used only where it came: asking for it by itself could contradict them.
# So do lz4 and zstd with rosbags, which packs and unpacks by them; Python 3.14 has the latter as `compression`.
IMPORT_NAMES = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "backports": "rosbags",
    "compression": "rosbags",
    "lz4": "rosbags",
    "skimage": "scikit-image",
    "triton": "torch",
    "yaml": "pyyaml",
}
ROS_PACKAGES = {
    "ament_index_python",
    "builtin_interfaces",
    "diagnostic_msgs",
    "lifecycle_msgs",
    "rcl_interfaces",
    "rclpy",
    "rosgraph_msgs",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "trajectory_msgs",
}
NODES = sorted(path.stem for path in (ROOT / "vla_ros" / "nodes").glob("*.py") if "\ndef main(" in path.read_text())


def requirement_lines(file: str) -> list[tuple[str, str]]:
    """(name in lower case, the reason in its comment) of every requirement of a file."""
    found = []
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement, _, reason = line.partition("#")
            found.append((re.split(r"[<>=~!\[; ]", requirement.strip())[0].lower(), reason.strip()))
    return found


def names(file: str) -> set[str]:
    return {name for name, _ in requirement_lines(file)}


def depends(tag: str) -> set[str]:
    return {str(element.text) for element in ElementTree.parse(ROOT / "package.xml").getroot().findall(tag)}


def third_party_imports(folder: Path) -> dict[str, str]:
    """Top-level module -> one file that imports it, for everything that is neither standard nor ours."""
    found = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            for top in (module.split(".")[0] for module in modules):
                if top not in sys.stdlib_module_names and top != "vla_ros":
                    found[top] = str(path.relative_to(ROOT))
    return found


@pytest.mark.parametrize("file", sorted(path.name for path in ROOT.glob("requirements*.txt")))
def test_each_requirement_says_why(file: str) -> None:
    lines = requirement_lines(file)
    assert lines
    assert [name for name, reason in lines if not reason] == []


def test_rosdep_keys_and_pip_requirements_agree() -> None:
    python_keys = {key for key in depends("exec_depend") if key.startswith("python3-")}
    assert python_keys == {ROSDEP[name] for name in names("requirements.txt")} - {None}


def test_requirements_without_a_rosdep_key_are_named_in_package_xml() -> None:
    text = (ROOT / "package.xml").read_text(encoding="utf-8")
    for name in names("requirements.txt"):
        assert ROSDEP[name] or f" {name}" in text, f"package.xml does not say how {name} is installed"


def test_test_dependencies_agree() -> None:
    assert depends("test_depend") == {"python3-pytest", "python3-hypothesis"}
    assert {"pytest", "hypothesis"} <= names("requirements-dev.txt")


def test_every_import_is_declared() -> None:
    declared = names("requirements.txt") | names("requirements-training.txt") | depends("exec_depend")
    imported = third_party_imports(ROOT / "vla_ros")
    missing = {module: file for module, file in imported.items() if IMPORT_NAMES.get(module, module) not in declared}
    assert missing == {}


def test_every_message_package_in_use_is_in_package_xml() -> None:
    imported = {module for module in third_party_imports(ROOT / "vla_ros") if module in ROS_PACKAGES}
    assert imported <= depends("exec_depend")


def test_versions_agree() -> None:
    version = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version")
    assert f'version="{version}"' in (ROOT / "setup.py").read_text(encoding="utf-8")


def test_nothing_forbids_a_cuda_build_of_torch() -> None:
    for path in [*ROOT.glob("requirements*.txt"), ROOT / "constraints.txt"]:
        text = path.read_text(encoding="utf-8")
        assert "+cpu" not in text and "index-url" not in text, f"{path.name} ties torch to one build"


def test_pyproject_leaves_the_package_to_setup_py() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "project" not in settings, "two descriptions of one package would drift apart"


def test_colcon_sees_an_ament_python_package() -> None:
    listed = subprocess.run(
        [_tool("colcon"), "--log-base", "/dev/null", "list", "--base-paths", str(ROOT)],
        env=_colcon_environment(),
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert re.search(r"^vla_ros\s.*\(ros\.ament_python\)$", listed.stdout, re.MULTILINE), listed.stdout + listed.stderr


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A colcon workspace with a copy of the package's files in it."""
    ignore = shutil.ignore_patterns(".*", "build", "install", "log", "out", "data", "runs", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, tmp_path / "src" / "vla_ros", ignore=ignore)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("option", [[], ["--symlink-install"]], ids=["plain", "symlink"])
def test_colcon_installs_nodes_launch_files_configs_and_models(workspace: Path, option: list[str]) -> None:
    _colcon(workspace, "build", *option)
    prefix = workspace / "install" / "vla_ros"
    executables = prefix / "lib" / "vla_ros"
    assert {path.name for path in executables.iterdir()} == {*NODES, "vla-ros"}
    source = workspace / "src" / "vla_ros"
    for folder in ("launch", "config", "models"):
        for path in (source / folder).rglob("*"):
            installed = prefix / "share" / "vla_ros" / path.relative_to(source)
            assert not path.is_file() or installed.read_bytes() == path.read_bytes(), f"{installed} is missing"
    command = f". {workspace}/install/setup.sh && exec {executables}/vla-ros launch --show-args vla"
    shown = subprocess.run(
        ["sh", "-c", command], env=_colcon_environment(), capture_output=True, text=True, check=False, cwd="/"
    )
    assert shown.returncode == 0 and "robot" in shown.stdout, shown.stdout + shown.stderr


@pytest.mark.slow
def test_colcon_test_runs_our_tests(workspace: Path) -> None:
    _colcon(workspace, "build")
    _colcon(workspace, "test", "--pytest-args", "test/test_architecture.py")
    result = _colcon(workspace, "test-result", "--all")
    assert re.search(r"Summary: [1-9]\d* tests, 0 errors, 0 failures,", result), result


@pytest.mark.slow
def test_pip_puts_the_command_into_bin(workspace: Path) -> None:
    environment = workspace / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*pip, "pyyaml", "numpy", "setuptools>=70.1,<80"], check=True)
    subprocess.run([*pip, "--no-build-isolation", str(workspace / "src" / "vla_ros")], check=True)
    command = environment / "bin" / "vla-ros"
    shown = subprocess.run(
        [command, "launch", "--show-args", "demo"], capture_output=True, text=True, check=False, cwd="/"
    )
    assert shown.returncode == 0 and "instruction" in shown.stdout, shown.stdout + shown.stderr


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _colcon(workspace: Path, *words: str) -> str:
    """Run colcon in a workspace; its output, or a failure that shows it."""
    command = [_tool("colcon"), *words]
    done = subprocess.run(
        command, cwd=workspace, env=_colcon_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _colcon_environment() -> dict[str, str]:
    """colcon's python helpers and ament's marker come from our own venv."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "AMENT_PREFIX_PATH": sys.prefix}
