"""The lock holds what the requirements ask for, is used where it fits, and an audit that could not ask says so."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
PIN = re.compile(r"([a-z0-9-]+)==([^ ]+) --hash=sha256:[0-9a-f]{64}")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins() -> dict[str, str]:
    lines = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    found = [PIN.fullmatch(line) for line in lines]
    assert all(found), [line for line, pin in zip(lines, found, strict=True) if not pin]
    return {pin[1]: pin[2] for pin in found if pin}


def requirements() -> list[Requirement]:
    lock = script("lock")
    lines = [line.split("#")[0].strip() for file in lock.FILES for line in (ROOT / file).read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


def test_every_requirement_is_locked_at_a_version_that_it_allows() -> None:
    """A new requirement without `make lock` would be installed unlocked, or not at all."""
    lock, locked = script("lock"), pins()
    assert len(locked) > 150
    for wanted in requirements():
        name = lock.name_of(wanted.name)
        if name in lock.APART:
            assert name not in locked
            continue
        assert name in locked, f"{name} is not in requirements.lock; run `make lock`"
        assert wanted.specifier.contains(locked[name], prereleases=True), f"{wanted} is locked at {locked[name]}"


def test_the_lock_names_no_place_to_take_files_from() -> None:
    text = LOCK.read_text()
    assert "://" not in text and "file:" not in text and "--index" not in text and "--find-links" not in text
    assert re.search(r"^# for: python3\.\d+ linux x86_64$", text, re.M)


@pytest.fixture
def pip(tmp_path: Path) -> tuple[Path, Path]:
    """A python that says what it is, and writes down what pip was asked to do."""
    python, log = tmp_path / "python", tmp_path / "log"
    python.write_text(f'#!/bin/bash\n[ "$1" = -c ] && echo "$SAYS" || echo "$@" >> {log}\n')
    python.chmod(0o755)
    return python, log


def install(pip: tuple[Path, Path], says: str, locked: str) -> tuple[str, list[str]]:
    environment = {**os.environ, "LOCKED": locked, "SAYS": says}
    command = [ROOT / "scripts/install.sh", pip[0], "--extra-argument"]
    said = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    return said, pip[1].read_text().splitlines()


def lock_tag() -> str:
    return re.findall(r"^# for: (.*)$", LOCK.read_text(), re.M)[0]


def test_where_the_lock_fits_every_file_is_held_to_its_hash(pip: tuple[Path, Path]) -> None:
    said, runs = install(pip, lock_tag(), "1")
    assert said == "" and len(runs) == 2
    assert runs[0].endswith("--extra-argument --no-deps --require-hashes -r requirements.lock")
    assert runs[1].endswith("-c constraints.txt torch")


def test_elsewhere_a_line_says_that_it_is_not_used(pip: tuple[Path, Path]) -> None:
    said, runs = install(pip, "python3.14 linux aarch64", "1")
    assert said.count("\n") == 1 and "the newest releases are installed, not those that were tested" in said
    assert len(runs) == 1 and "--require-hashes" not in runs[0] and "-r requirements.txt" in runs[0]


def test_without_being_asked_for_it_is_not_used(pip: tuple[Path, Path]) -> None:
    said, runs = install(pip, lock_tag(), "")
    assert said == "" and len(runs) == 1 and "--require-hashes" not in runs[0]


def test_ci_installs_from_the_lock() -> None:
    if not (ROOT / ".ci/run").is_file():
        pytest.skip("a copy without hidden files")
    assert "export LOCKED=1" in (ROOT / ".ci/run").read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert 'LOCKED="$(LOCKED)" ROS_REQUIREMENTS="$(ROS_REQUIREMENTS)" scripts/install.sh' in makefile


def test_an_audit_tells_findings_from_what_could_not_be_asked() -> None:
    audit = script("audit")
    flaw = {"id": "CVE-1", "fix_versions": ["2.1"]}
    report = {
        "dependencies": [
            {"name": "a", "version": "2.0", "vulns": [flaw, {"id": "CVE-2", "fix_versions": []}]},
            {"name": "b", "version": "1.0", "vulns": []},
            {"name": "ros-x", "skip_reason": "Dependency not found"},
        ]
    }
    found, asked, unknown = audit.vulnerabilities(report)
    assert found == ["a 2.0: CVE-1; mended in 2.1", "a 2.0: CVE-2; mended in no release yet"]
    assert (asked, unknown) == (2, ["ros-x"])


@pytest.mark.parametrize(
    ("name", "licence", "passes"),
    [
        ("a", "Apache-2.0", True),
        ("a", "MIT License", True),
        ("a", "BSD-3-Clause AND 0BSD", True),
        ("a", "Mozilla Public License 2.0 (MPL 2.0)", True),
        ("a", "GPL-3.0-or-later", False),
        ("a", "GNU Affero General Public License v3", False),
        ("a", "LGPLv2+", False),
        ("a", "UNKNOWN", False),
        ("a", "BSD License; GNU General Public License (GPL)", False),
        ("ros-rclpy", "UNKNOWN", True),
        ("sensor_msgs", "UNKNOWN", True),
        ("ros-rclpy", "GPL-3.0", False),
        ("a", "Proprietary", False),
        ("a", "Limited use", False),
    ],
)
def test_licences_that_bind_who_passes_them_on_are_findings(name: str, licence: str, passes: bool) -> None:
    wrong, _ = script("audit").licences([{"Name": name, "Version": "1", "License": licence}])
    assert (wrong == []) == passes


def test_the_codecs_in_the_wheel_of_pyav_are_told() -> None:
    _, said = script("audit").licences([{"Name": "av", "Version": "14", "License": "BSD-3-Clause"}])
    assert "libx264" in said[0] and "GPL" in said[0]
    for file in ("SECURITY.md", "requirements-training.txt"):
        assert "libx264" in (ROOT / file).read_text(), file
