"""Runs episodes against a robot's graph: reset, instruct, arm, watch, stop. The graph is behind a protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from vla_ros.core.errors import VlaRosError
from vla_ros.media.animations import Frame
from vla_ros.monitor.demo.episodes import DemoEpisode, DemoResult
from vla_ros.monitor.latency import ChunkLatency

Progress = Callable[[DemoEpisode, str, float], None]


class Graph(Protocol):
    """What the conductor needs of the running nodes. Every call may raise VlaRosError, which ends the series."""

    def now_s(self) -> float:
        """Return a clock that never goes back [s]."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""

    def ready(self) -> str | None:
        """Return None if every node is active, else which are missing."""

    def reset(self, seed: int, task: str) -> None:
        """Put everything at the start of an episode."""

    def instruct(self, sentence: str) -> None:
        """Publish the instruction."""

    def has_answered(self) -> bool:
        """Return whether the policy has planned from something seen since the last `instruct`."""

    def arm(self) -> str | None:
        """Arm the commander. Return why not, or None."""

    def stop(self) -> None:
        """Disarm; nothing moves after this."""

    def success(self) -> bool | None:
        """Return whether the task is done now; None while nothing fresh is known since the last `reset`."""

    def fault(self) -> str | None:
        """Return why the commander has stopped by itself since `arm`, or None."""

    def take_chunks(self) -> tuple[ChunkLatency, ...]:
        """Return the latencies of the chunks since the last call."""

    def take_frames(self) -> list[Frame]:
        """Return the overview camera's frames since the last call; empty without one."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the conductor waits for what [s]."""

    limit_s: float = 12.0
    ready_s: float = 60.0
    answer_s: float = 5.0
    arm_s: float = 5.0
    poll_s: float = 0.02
    drain_s: float = 0.3


def wait_until_ready(graph: Graph, pace: Pace, progress: Callable[[str], None]) -> None:
    """Wait for every node, at most `pace.ready_s`."""
    deadline = graph.now_s() + pace.ready_s
    while (missing := graph.ready()) is not None:
        if graph.now_s() > deadline:
            raise VlaRosError(f"waited {pace.ready_s:g} s; {missing}")
        progress(missing)
        graph.wait(0.2)


def run_episode(graph: Graph, episode: DemoEpisode, pace: Pace, progress: Progress) -> DemoResult:
    """Run one episode from reset to stop; the commander is disarmed before and after: no plan outlives its scene."""
    progress(episode, "reset", 0.0)
    graph.stop()
    graph.reset(episode.seed, episode.task)
    graph.take_frames()
    graph.instruct(episode.instruction)
    try:  # an interrupted `_arm` may have armed the commander, even if its answer was lost
        refusal = _answered(graph, pace) or _arm(graph, pace)
        if refusal is not None:
            return DemoResult(episode, _judged(episode, False), 0.0, (), refusal)
        graph.take_chunks()
        started_s = graph.now_s()
        fault = _watch(graph, episode, pace, progress)
        seconds, success = graph.now_s() - started_s, bool(graph.success())
    finally:
        graph.stop()
    graph.wait(pace.drain_s)
    return DemoResult(episode, _judged(episode, success), seconds, graph.take_chunks(), fault)


def outcome(result: DemoResult) -> str:
    """Return in a few words how an episode ended."""
    if result.reason:
        return result.reason
    return {True: "done", False: "time is up", None: "ended"}[result.success]


def _judged(episode: DemoEpisode, success: bool) -> bool | None:
    return success if episode.task else None


def _answered(graph: Graph, pace: Pace) -> str | None:
    """Wait for a plan made from the instruction and the new scene; an older one must not move the robot."""
    deadline = graph.now_s() + pace.answer_s
    while not graph.has_answered():
        if graph.now_s() > deadline:
            return f"the policy did not answer within {pace.answer_s:g} s"
        graph.wait(pace.poll_s)
    return None


def _arm(graph: Graph, pace: Pace) -> str | None:
    deadline = graph.now_s() + pace.arm_s
    while (reason := graph.arm()) is not None:
        if graph.now_s() > deadline:
            return f"not armed: {reason.removeprefix('not armed: ')}"
        graph.wait(0.1)
    return None


def _watch(graph: Graph, episode: DemoEpisode, pace: Pace, progress: Progress) -> str:
    """Wait for success, a fault or the end of the time. Return the fault, or empty text."""
    started_s = graph.now_s()
    while (elapsed_s := graph.now_s() - started_s) < pace.limit_s:
        if episode.task and graph.success():
            break
        if (fault := graph.fault()) is not None:
            return f"fault: {fault}"
        progress(episode, "moving", elapsed_s)
        graph.wait(pace.poll_s)
    return ""
