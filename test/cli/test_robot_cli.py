"""`vla-ros robot` on files alone: one line for what cannot be, and no file left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from descriptions import ARM

from vla_ros.cli.main import main
from vla_ros.core.robot import load_robot


def init(out: Path, urdf: Path, *words: str) -> int:
    return main(["robot", "init", str(out), "--urdf", str(urdf), "--seconds", "0", *words])


@pytest.fixture
def urdf(tmp_path: Path) -> Path:
    path = tmp_path / "arm.urdf"
    path.write_text(ARM, encoding="utf-8")
    return path


def test_a_draft_is_written_and_checked(tmp_path: Path, urdf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "robot.yaml"
    assert init(out, urdf, "--name", "yes", "--tool", "flange", "--gripper", "left_finger_joint") == 0
    assert load_robot(out).name == "yes"
    assert main(["robot", "check", str(out), "--urdf", str(urdf), "--seconds", "0"]) == 0
    assert "ok    workspace" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("out", "old", "new", "said"),
    [
        ("nowhere/robot.yaml", "", "", "there is no folder"),
        (".", "", "", "exists; name another file"),
        ("robot.yaml", "<robot", "<sdf", "not valid XML"),
        ("robot.yaml", 'lower="-2" upper="2.5"', "", "the URDF gives no lower and upper"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_no_file(
    tmp_path: Path, urdf: Path, capsys: pytest.CaptureFixture[str], out: str, old: str, new: str, said: str
) -> None:
    urdf.write_text(ARM.replace(old, new, 1) if old else ARM, encoding="utf-8")
    assert init(tmp_path / out, urdf) == 2
    shown = capsys.readouterr().err
    assert said in shown and len(shown.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arm.urdf"]
