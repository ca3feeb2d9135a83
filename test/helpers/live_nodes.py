"""Real processes on a ROS domain of their own, and a node in the test that stands for the robot around them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from vla_ros.core.paths import share_folder

# 101 is the last domain whose ports lie below the ephemeral ones. Two test runs on one machine rarely share a number.
_DOMAINS = count(os.getpid())


def new_domain() -> int:
    """A ROS domain that no other test of this run uses."""
    return 1 + next(_DOMAINS) % 101


class Processes:
    """Starts nodes as processes; whatever still runs at the end is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(
        self, node: str, script: Path | None = None, remaps: tuple[str, ...] = (), **parameters: object
    ) -> subprocess.Popen[bytes]:
        """`python -m vla_ros.nodes.NODE`, or a script in its place, with parameters; for its output see `output`.
        remaps: such as `from:=to`."""
        words = [f"{name}:={value}" for name, value in parameters.items()]
        program = [str(script)] if script else ["-m", f"vla_ros.nodes.{node}"]
        command = [sys.executable, *program, "--ros-args"]
        command += [word for pair in words for word in ("-p", pair)]
        command += [word for remap in remaps for word in ("-r", remap)]
        return self.run(node, command)

    def run(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """Any command, in the tests' environment; `name` is for `output`."""
        log = (self._folder / f"{name}.log").open("ab")
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=share_folder(), env=dict(os.environ)
        )
        self._running.append(process)
        return process

    def output(self, node: str) -> str:
        """What a node has printed."""
        return (self._folder / f"{node}.log").read_text()

    def close(self) -> None:
        """Nothing of the test goes on after it."""
        for process in self._running:
            process.send_signal(signal.SIGCONT)
            process.terminate()  # what is killed leaves its shared memory behind, 16 MB each
        for process in self._running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def edited_robot(folder: Path, old: str, new: str) -> Path:
    """The tabletop's contract with another text in one place."""
    text = (share_folder() / "config" / "robots" / "ur5e_tabletop.yaml").read_text()
    assert old in text
    path = folder / "robot.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


def patient_robot(folder: Path) -> Path:
    """The tabletop's contract for tests of motion: a robot that falls silent for a moment is not stopped for it."""
    return edited_robot(folder, "joint_state_timeout_s: 0.1,", "joint_state_timeout_s: 0.4,")


@contextmanager
def live_processes(folder: Path) -> Iterator[Processes]:
    """Starts nodes, and ends them at the end."""
    found = Processes(folder)
    try:
        yield found
    finally:
        found.close()


class World:
    """The test's own node, spun in a thread: records diagnostics by node, calls services."""

    def __init__(self, node: Any) -> None:
        from diagnostic_msgs.msg import DiagnosticArray

        from vla_ros.ros.clients import ServiceCaller

        self.node = node
        self._caller = ServiceCaller(node, 20.0)  # one for all: an answer to a client that is new may be lost
        self.diagnostics: dict[str, Any] = {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 20)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            self.diagnostics[status.name.removeprefix("/")] = status

    def says(self, node: str, text: str) -> bool:
        """Whether a node's newest diagnostics hold `text`."""
        status = self.diagnostics.get(node)
        return status is not None and text in status.message

    def trigger(self, service: str) -> tuple[bool, str]:
        """Call a Trigger service."""
        return self._caller.trigger(service)

    def call(self, service_type: Any, service: str, request: Any) -> Any:
        """Call any service."""
        return self._caller._call(service_type, service, request)

    def goes_on(self, condition: Callable[[], Any]) -> Callable[[], Any]:
        """`condition` for `until`, arming anew where the commander is in fault: on a busy machine a plan or a joint
        state may come too late, which is latched."""

        def checked() -> Any:
            if self.says("commander", "fault: "):
                self.trigger("commander/arm")
            return condition()

        return checked


@contextmanager
def live_world() -> Iterator[World]:
    """A node of the test's own, and everything it hears. rclpy must be initialised."""
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    node = rclpy.create_node("world")
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            return

    thread = threading.Thread(target=spin, daemon=True)
    found = World(node)
    thread.start()
    try:
        yield found
    finally:
        executor.shutdown()
        thread.join(5)
        node.destroy_node()
