"""Types are named by strangers: only installed ROS messages are imported, and nothing else is run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from std_msgs.msg import String

from vla_ros.core.errors import MessageError
from vla_ros.ros.message_types import message_class

RUN = "import sys; open('ran', 'a').write(__name__)\n"


def test_installed_messages_are_found() -> None:
    assert message_class("std_msgs/msg/String") is String
    assert message_class("sensor_msgs/msg/JointState").__name__ == "JointState"


@pytest.mark.parametrize(
    "name",
    [
        "this/msg/X",
        "antigravity/msg/X",
        "os/path/join",
        "std_msgs/String",
        "std_msgs/srv/String",
        "std_msgs/msg/string",
        "../evil/msg/X",
        "std_msgs.msg/msg/String",
        "std_msgs/msg/String/more",
        "std_msgs/msg/String\n",
        "",
        "//",
        "STD_MSGS/msg/String",
        "stdé/msg/X",
        "vla_ros/msg/X",
        "numpy/msg/X",
        "std_msgs/msg/Dict",
        "std_msgs/msg/Moon",
    ],
)
def test_what_is_no_installed_message_is_refused(name: str) -> None:
    with pytest.raises(MessageError, match=r"not installed here|not a message type"):
        message_class(name)
    assert "this" not in sys.modules and "antigravity" not in sys.modules


def test_a_refusal_stays_short() -> None:
    with pytest.raises(MessageError) as refused:
        message_class("x" * 100_000 + "/msg/X")
    assert len(str(refused.value)) < 200


def _in_a_hostile_folder(folder: Path, name: str, environment: dict[str, str] | None = None) -> str:
    """What comes of asking for a type where the current folder comes first on the path."""
    code = f"""
import sys
sys.path.insert(0, "")
from vla_ros.core.errors import MessageError
from vla_ros.ros.message_types import message_class
try:
    print("found", message_class({name!r}).__module__)
except MessageError as error:
    print("refused", error)
"""

    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root), **(environment or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("package", ["evil_bag", "nav_msgs"])
def test_a_package_of_the_current_folder_is_not_run(tmp_path: Path, package: str) -> None:
    for folder in (tmp_path / package, tmp_path / package / "msg"):
        folder.mkdir()
        (folder / "__init__.py").write_text(RUN + "class X: pass\nclass Path: pass\n")
    for name in (f"{package}/msg/X", f"{package}/msg/Path"):
        assert _in_a_hostile_folder(tmp_path, name).startswith("refused")
    assert not (tmp_path / "ran").exists()


def test_a_relative_prefix_does_not_count(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3/site-packages/evil_bag/msg"
    index = tmp_path / "share/ament_index/resource_index/rosidl_interfaces"
    for folder in (site, index):
        folder.mkdir(parents=True)
    for folder in (site, site.parent):
        (folder / "__init__.py").write_text(RUN + "class X: pass\n")
    (index / "evil_bag").write_text("msg/X.msg\n")
    paths = {"PYTHONPATH": f"{Path(__file__).resolve().parents[2]}:{site.parents[1]}"}
    for prefix in ("", ".", ":"):
        said = _in_a_hostile_folder(tmp_path, "evil_bag/msg/X", {**paths, "AMENT_PREFIX_PATH": prefix})
        assert said.startswith("refused") and not (tmp_path / "ran").exists()
    said = _in_a_hostile_folder(tmp_path, "evil_bag/msg/X", {**paths, "AMENT_PREFIX_PATH": str(tmp_path)})
    assert said == "found evil_bag.msg\n", "a workspace that was sourced is trusted"
