"""However a node ends, it is stopped first; the exit code and one line say why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until

pytestmark = pytest.mark.live

NODE = """
import os
from vla_ros.core.errors import ConfigError
from vla_ros.ros.process.lifecycle import ManagedNode, spin

FAULT = os.environ["FAULT"]

class Example(ManagedNode):
    said = False

    def configure(self):
        if FAULT == "configure":
            raise ConfigError("robot.yaml: unknown key")
        if FAULT == "bug":
            raise RuntimeError("a bug of ours")

    def activate(self):
        print("active", flush=True)
        self.create_timer(0.01, self.work)
        if FAULT == "thread":
            self.broken = RuntimeError("a bug of ours")

    def work(self):
        if FAULT == "moving" and not self.said:
            self.said = True
            print("moving", flush=True)
        if FAULT == "work":
            raise RuntimeError("a bug of ours")
        if FAULT == "busy":
            print("busy", flush=True)
            sum(n for n in range(300_000))

    def wind_down(self, reason):
        if FAULT == "moving":
            print(reason, flush=True)
            self.turns = 0

    @property
    def at_rest(self):
        if FAULT != "moving":
            return True
        self.turns += 1
        return self.turns > 5

    def deactivate(self):
        if FAULT == "moving":
            print(self.turns, "turns", flush=True)
        print("stopped", flush=True)

spin(lambda: Example("example"), lambda node: node.autostart(), lambda node: node.deactivate())
"""


@pytest.fixture
def start(ros_domain: int, tmp_path: Path):
    path = tmp_path / "node.py"
    path.write_text(NODE)
    running: list[subprocess.Popen[str]] = []

    def run(fault: str, *words: str) -> subprocess.Popen[str]:
        pipe, command = subprocess.PIPE, [sys.executable, str(path), *words]
        env = os.environ | {"FAULT": fault}
        running.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize("doing", ["none", "busy"])
def test_a_signal_stops_it_and_the_exit_code_is_zero(start, number, doing):
    process = start(doing)
    assert process.stdout.readline() == "active\n"
    if doing == "busy":
        assert process.stdout.readline() == "busy\n"  # it comes in the middle of a callback
    process.send_signal(number)
    out, error = process.communicate(timeout=5)
    assert (process.returncode, out.replace("busy\n", ""), error) == (0, "stopped\n", "")


def test_what_moves_comes_to_rest_before_it_is_stopped(start):
    process = start("moving")
    assert process.stdout.readline() + process.stdout.readline() == "active\nmoving\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=5)
    assert (process.returncode, out) == (0, "the process is asked to end\n6 turns\nstopped\n")


def test_ctrl_z_suspends_it_when_it_has_come_to_rest(start):
    process = start("moving")
    assert process.stdout.readline() + process.stdout.readline() == "active\nmoving\n"
    process.send_signal(signal.SIGTSTP)
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text().split(")")[1].split()[0] == "T", 5, "suspension")
    assert process.stdout.readline() == "the process is suspended (Ctrl-Z)\n"
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=5)
    assert (process.returncode, out) == (0, "the process is asked to end\n6 turns\nstopped\n")


@pytest.mark.parametrize("place", ["work", "thread"])
def test_an_exception_that_nobody_expected_still_stops_it(start, place):
    process = start(place)
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "active\nstopped\n")
    assert "RuntimeError: a bug of ours" in error


def test_a_wrong_configuration_is_one_line_and_a_code_of_its_own(start):
    process = start("configure")
    out, error = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "example: error: robot.yaml: unknown key" in error.splitlines()
    assert "Traceback" not in out + error


def test_a_bug_while_configuring_is_not_swallowed(start):
    """rclpy turns it into a failed transition, without a word."""
    process = start("bug")
    _, error = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "example: error: RuntimeError: a bug of ours" in error.splitlines()
    assert "in configure" in error


def test_arguments_that_ros_would_ignore_are_refused(start):
    process = start("none", "--robot", "ur5e.yaml")
    _, said = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "unexpected argument '--robot'; parameters go after --ros-args, as in -p robot:=FILE" in said
