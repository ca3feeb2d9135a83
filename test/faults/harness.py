"""A running graph, and the experiment that every fault is: let it move, break something, measure the hold, mend it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from live_nodes import Processes, World, live_processes, live_world, new_domain
from recording import STILL
from robot import HOME, SENTENCE, Robot, SimClock
from waiting import until

from vla_ros.core.paths import share_folder
from vla_ros.core.robot import load_robot
from vla_ros.ros.process.starting import start_ros

HOLD_S = 0.5  # the longest that any fault may take until the command stands still
PLAN_S = 0.45  # how old a plan may be; where that is the fault, the time to stand still begins then
LATCHED_S = 0.6
FAR_RAD = 0.8
TRIES = 3  # to set off, on a machine that others keep busy
Edits = tuple[tuple[str, str], ...]  # old and new text of the contract


@dataclass
class Row:
    """One line of the table."""

    fault: str
    expected: str
    observed: str = ""
    hold_s: float | None = None
    test: str = ""


@dataclass
class Graph:
    """Nodes as processes, the robot around them, and what they say about themselves."""

    folder: Path
    processes: Processes
    world: World
    robot: Robot
    running: dict[str, Any] = field(default_factory=dict)

    @property
    def scripted(self) -> bool:
        """Whether the robot's own swing takes the policy's place."""
        return "policy" not in self.running

    def start(self, node: str, **parameters: object) -> Any:
        """Start a node on the robot of this graph; again after its end."""
        script = parameters.pop("script", None)
        parameters = {"robot": self.folder / "robot.yaml"} | parameters
        self.world.diagnostics.pop(node, None)
        self.running[node] = self.processes.start(node, script=script, **parameters)  # type: ignore[arg-type]
        self._await(node)
        return self.running[node]

    def launch(self) -> Any:
        """Start a commander under `vla-ros launch`; the launcher's process."""
        node = "{pkg: vla_ros, exec: commander, name: commander, param: [{name: robot, value: '%s'}]}"
        file = self.folder / "one.launch.yaml"
        file.write_text(f"launch:\n- node: {node % (self.folder / 'robot.yaml')}\n", encoding="utf-8")
        self.world.diagnostics.pop("commander", None)
        command = [sys.executable, "-m", "vla_ros.cli.main", "launch", "--own", str(file)]
        self.running["commander"] = self.processes.run("commander", command)
        self._await("commander")
        return self.running["commander"]

    def _await(self, node: str) -> None:
        until(lambda: node in self.world.diagnostics or self.running[node].poll() is not None, 60, node)
        assert self.running[node].poll() is None, self.processes.output(node)

    def named(self, node: str, text: str) -> bool:
        """Whether a node's newest diagnostics hold `text`, in the message or among the figures."""
        status = self.world.diagnostics.get(node)
        return status is not None and any(text in one for one in (status.message, *(v.value for v in status.values)))

    def value(self, node: str, key: str) -> str:
        """One figure of a node's newest diagnostics."""
        return next((v.value for v in self.world.diagnostics[node].values if v.key == key), "")

    def arming(self) -> tuple[bool, str]:
        """Ask the commander to arm; whether it did, and what it says."""
        done, message = self.world.trigger("commander/arm")
        if "through a stop" in message:  # it takes a caller without a pause for a flood
            time.sleep(0.35)
        return done, message

    def arm(self) -> None:
        """Arm, as soon as the commander agrees."""
        deadline_s = time.monotonic() + 10
        while not (answer := self.arming())[0]:
            assert time.monotonic() < deadline_s, answer[1]
            time.sleep(0.02)

    def move(self, sentence: str = SENTENCE) -> None:
        """Everything mended, armed and in motion; from near home, so that no row meets a limit."""
        robot = self.robot
        robot.alter.clear()
        robot.follows = True
        if np.abs(robot.position - HOME).max() > FAR_RAD:
            robot.carry_home()
            until(lambda: np.abs(robot.position - HOME).max() < STILL, 5, "the way home")
        if self.scripted:
            robot.swing()
        else:
            robot.say(sentence)
        seen = robot.chunks
        until(lambda: robot.chunks > seen + 2, 20, "plans")
        robot.longest_gap_s = 0.0
        moved = any(self._set_off() for _ in range(TRIES))
        busy = f"between joint states of the test itself were up to {robot.longest_gap_s:.2f} s: is the machine busy?"
        assert moved, f"no motion: {self.world.diagnostics['commander'].message}; {busy}"

    def _set_off(self) -> bool:
        """Arm and begin to move; False where the commander soon has a reason to stop."""
        robot, world = self.robot, self.world
        if self.scripted:
            robot.swing()
        self.arm()
        if self.scripted:  # the way to go begins now, however long arming took
            robot.swing()
        robot.recording.begin()  # not earlier: until then it may hold another place
        robot.let_go()
        world.diagnostics.pop("commander", None)
        until(lambda: robot.recording.travel() > 0.05 or world.says("commander", "fault: "), 5, "motion")
        return not world.says("commander", "fault: ")

    def rest(self) -> None:
        """Mended, and standing still."""
        self.robot.alter.clear()
        self.world.trigger("commander/stop")
        self.robot.rest()


@contextmanager
def running_graph(folder: Path, clock: SimClock | None = None, edits: Edits = ()) -> Iterator[Graph]:
    """The robot on a ROS domain of its own; nodes are started in it by name. edits: of the robot's contract."""
    path = write_robot(folder, edits)
    with pytest.MonkeyPatch.context() as patch:
        domain = new_domain()
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        start_ros(domain_id=domain)
        try:
            with live_processes(folder) as processes, live_world() as world:
                yield Graph(folder, processes, world, Robot(world.node, load_robot(path), clock))
        finally:
            rclpy.try_shutdown()


def write_robot(folder: Path, edits: Edits) -> str:
    """The tabletop's contract with stamped commands, so that their speed can be told, and one compressed camera."""
    text = (share_folder() / "config" / "robots" / "ur5e_tabletop.yaml").read_text()
    for old, new in (
        ("type: Float64MultiArray", "type: JointState"),
        ("topic: /wrist/image_raw, encoding: rgb8", "topic: /wrist/image_raw, compressed: true"),
        *edits,
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "robot.yaml").write_text(text)
    return str(folder / "robot.yaml")


def hold_under(
    graph: Graph,
    row: Row,
    inject: Callable[[], object],
    cause: tuple[str, str],
    mend: Callable[[], object] = lambda: None,
    limit_s: float | None = None,
    slack_rad: float = STILL,
) -> None:
    """In mid-motion `inject` a fault: at rest in time, its cause in the diagnostics of the right node, no limit broken
    on the way; after `mend` it still holds, until it is armed again."""
    graph.move()
    recording = graph.robot.recording
    assert recording.travel(time.time() - 0.3) > 0.005, "nothing moved before the fault"
    graph.world.diagnostics.clear()
    fault_s = time.time()
    inject()
    until(lambda: graph.world.says("commander", "fault: "), 4, "a fault of the commander")
    if limit_s is None:
        limit_s = HOLD_S + (PLAN_S if graph.world.says("commander", "the plan is stale") else 0.0)
    until(lambda: time.time() > fault_s + limit_s + 0.2)
    node, text = cause
    until(lambda: graph.named(node, text), 4, f"'{text}' in the diagnostics of {node}")
    row.observed = f"held, {node}: {next(one for one in _sayings(graph, node) if text in one)}"
    row.hold_s = recording.time_to_hold_s(fault_s)
    assert row.hold_s <= limit_s
    mend()
    graph.robot.alter.clear()
    mended_s = time.time()
    until(lambda: time.time() > mended_s + LATCHED_S)
    assert recording.travel(mended_s) <= slack_rad, "it moved again, although nobody armed it"
    assert len(recording.since(mended_s)) > 30, "it holds without saying so: no commands"
    assert graph.world.says("commander", "fault: ")
    assert recording.violations() == []


def moves_under(graph: Graph, row: Row, inject: Callable[[], object], for_s: float = 1.5) -> None:
    """What is no fault: the robot goes on moving, within its limits."""
    graph.move()
    start_s = time.time()
    inject()
    until(lambda: time.time() > start_s + for_s)
    recording = graph.robot.recording
    row.observed = f"moved on by {recording.travel(start_s):.2f} rad"
    assert recording.travel(time.time() - 0.5) > 0.01, graph.world.diagnostics["commander"].message
    assert graph.world.says("commander", "armed"), graph.world.diagnostics["commander"].message
    assert recording.violations() == []


def stands_still(graph: Graph, for_s: float = 0.3) -> bool:
    """Whether the robot itself, as it obeys its last command, no longer moves."""
    before = graph.robot.position.copy()
    time.sleep(for_s)
    return bool(np.abs(graph.robot.position - before).max() < 1e-3)


def _sayings(graph: Graph, node: str) -> list[str]:
    status = graph.world.diagnostics[node]
    return [status.message, *(value.value for value in status.values)]


def rss_mb(pid: int) -> float:
    """The resident memory of a process [MB]."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
