"""A wrong environment is one line from every node and command that starts ROS, with what to do; never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vla_ros.core.errors import ConfigError
from vla_ros.ros.process.environment import PROFILES, check_environment, log_folder, own_profile, use_profile

WRONG = {
    "absent middleware": ("RMW_IMPLEMENTATION", "rmw_nowhere_cpp", "'rmw_nowhere_cpp', which is not installed here"),
    "domain of letters": ("ROS_DOMAIN_ID", "mine", "ROS_DOMAIN_ID is 'mine', must be a whole number from 0 to 232"),
    "domain without ports": ("ROS_DOMAIN_ID", "233", "ROS_DOMAIN_ID is '233', must be"),
    "log folder": ("ROS_LOG_DIR", "/dev/null/log", "set ROS_LOG_DIR to a folder you may write to"),
    "log folder that the system keeps": ("ROS_LOG_DIR", "/proc/log", "set ROS_LOG_DIR to a folder you may write to"),
}
STARTERS = {
    "commander": ["vla_ros.nodes.commander"],
    "policy": ["vla_ros.nodes.policy"],
    "demo": ["vla_ros.nodes.demo"],
    "dashboard": ["vla_ros.nodes.dashboard"],
    "recorder": ["vla_ros.nodes.recorder"],
    "top": ["vla_ros.cli.main", "top"],
}


def run(words: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-m", *words], env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("named", [{}, {"FASTDDS_DEFAULT_PROFILES_FILE": ""}])
def test_every_version_of_fast_dds_finds_our_profile(named: dict[str, str]) -> None:
    """Jazzy's knows only FASTRTPS_DEFAULT_PROFILES_FILE: named by the other alone, the profile was never read there."""
    use_profile(named)
    assert named == dict.fromkeys(PROFILES, str(own_profile()))
    assert own_profile().is_file()


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_that_the_user_chose_stays(name: str) -> None:
    variables = {name: "/mine.xml"}
    use_profile(variables)
    assert variables == dict.fromkeys(PROFILES, "/mine.xml")


@pytest.mark.parametrize("starter", STARTERS)
def test_an_absent_middleware_is_one_line_from_everyone(starter: str) -> None:
    done = run(STARTERS[starter], RMW_IMPLEMENTATION="rmw_nowhere_cpp")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "error: RMW_IMPLEMENTATION is 'rmw_nowhere_cpp'" in done.stderr and "unset it" in done.stderr


@pytest.mark.parametrize("fault", list(WRONG)[1:])
@pytest.mark.parametrize("starter", ["commander", "demo", "dashboard", "top"])
def test_a_wrong_setting_is_one_line(starter: str, fault: str) -> None:
    variable, value, message = WRONG[fault]
    done = run(STARTERS[starter], **{variable: value})
    assert done.returncode != 0 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr, done.stderr
    assert "error: " in done.stderr and message in done.stderr


def test_a_wrong_word_on_the_command_line_is_one_line_of_ours() -> None:
    done = run(["vla_ros.nodes.commander", "--ros-args", "--params-file", "/nowhere.yaml"])
    lines = [line for line in done.stderr.splitlines() if "[rcl]" not in line]
    assert done.returncode == 2 and len(lines) == 1, done.stderr
    assert "ROS does not start" in lines[0] and "/nowhere.yaml" in lines[0] and ".c:" not in lines[0]


@pytest.mark.parametrize("domain", ["", "0", "101", "232"])
def test_what_is_right_is_taken(domain: str, tmp_path: Path) -> None:
    check_environment({"ROS_DOMAIN_ID": domain, "ROS_LOG_DIR": str(tmp_path / "not" / "there" / "yet")})


@pytest.mark.parametrize("domain", ["-1", " ", "1.0", "²", "9" * 5000])
def test_what_is_no_domain_is_refused_in_a_line(domain: str) -> None:
    with pytest.raises(ConfigError, match="ROS_DOMAIN_ID is") as refusal:
        check_environment({"ROS_DOMAIN_ID": domain})
    assert len(str(refusal.value)) < 200


def test_where_logs_go() -> None:
    assert log_folder({"ROS_LOG_DIR": "/a", "ROS_HOME": "/b"}) == Path("/a")
    assert log_folder({"ROS_HOME": "/b"}) == Path("/b/log") and log_folder({}) == Path.home() / ".ros" / "log"


@pytest.mark.parametrize("fault", WRONG)
def test_doctor_advises_on_the_very_setting(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from vla_ros.cli import doctor

    variable, value, message = WRONG[fault]
    monkeypatch.setenv(variable, value)
    found = doctor._ros()
    assert not found.ok and message in found.detail and variable in found.advice and "make setup" not in found.advice
