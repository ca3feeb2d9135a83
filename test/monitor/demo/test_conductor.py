"""The conductor against a small graph whose time stands still unless it waits."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from vla_ros.core.errors import VlaRosError
from vla_ros.media.animations import Frame
from vla_ros.monitor.demo.conductor import Pace, outcome, run_episode, wait_until_ready
from vla_ros.monitor.demo.episodes import DemoEpisode
from vla_ros.monitor.demo.progress import ProgressLine
from vla_ros.monitor.demo.report import result_table, series_report, write_json
from vla_ros.monitor.demo.series import Settings, conduct
from vla_ros.monitor.latency import ChunkLatency

EPISODE = DemoEpisode("push the red block to the left", "push_left_red", 3)


class SmallGraph:
    """A graph whose robot is done `done_after_s` after it was armed with an instruction it has heard."""

    def __init__(self, done_after_s: float = 2.0, fault_after_s: float = 1e9, refusals: int = 0) -> None:
        self.time_s = 0.0
        self.done_after_s = done_after_s
        self.fault_after_s = fault_after_s
        self.refusals = refusals
        self.said: list[str] = []
        self.armed_s: float | None = None
        self.missing = 3

    def now_s(self) -> float:
        return self.time_s

    def wait(self, seconds: float) -> None:
        self.time_s += seconds

    def ready(self) -> str | None:
        self.missing -= 1
        return "policy is not active" if self.missing >= 0 else None

    def reset(self, seed: int, task: str) -> None:
        assert self.armed_s is None, "a reset while armed"
        self.said.append(f"reset {seed} {task}")

    def instruct(self, sentence: str) -> None:
        self.said.append(f"instruct {sentence}")
        self.instructed_s = self.time_s

    def has_answered(self) -> bool:
        return self.time_s > self.instructed_s + 0.2

    def arm(self) -> str | None:
        assert self.has_answered(), "armed before the policy knew of the instruction"
        if self.refusals > 0:
            self.refusals -= 1
            return "joint states are stale"
        self.armed_s = self.time_s
        self.said.append("arm")
        return None

    def stop(self) -> None:
        self.armed_s = None
        self.said.append("stop")

    def success(self) -> bool | None:
        return None if self.armed_s is None else self.time_s - self.armed_s >= self.done_after_s

    def fault(self) -> str | None:
        fails = self.armed_s is not None and self.time_s - self.armed_s >= self.fault_after_s
        return "no fresh plan" if fails else None

    def take_chunks(self) -> tuple[ChunkLatency, ...]:
        return (ChunkLatency(1, 0.5, 100.0, 106.0),)

    def take_frames(self) -> list[Frame]:
        return [np.full((60, 80, 3), shade, np.uint8) for shade in (0, 90, 180)]


def run(graph: SmallGraph, episode: DemoEpisode = EPISODE) -> tuple[bool | None, float, str]:
    result = run_episode(graph, episode, Pace(limit_s=5.0), ProgressLine(1, io.StringIO()))
    assert graph.armed_s is None, "left armed"
    return result.success, result.seconds, outcome(result)


def test_success_ends_an_episode_and_the_order_of_steps_is_safe() -> None:
    graph = SmallGraph()
    success, seconds, word = run(graph)
    assert (success, word) == (True, "done") and seconds == pytest.approx(2.0, abs=0.05)
    assert graph.said == ["stop", "reset 3 push_left_red", f"instruct {EPISODE.instruction}", "arm", "stop"]


def test_the_time_limit_ends_an_episode() -> None:
    success, seconds, word = run(SmallGraph(done_after_s=100.0))
    assert (success, word) == (False, "time is up") and seconds == pytest.approx(5.0, abs=0.05)


def test_a_fault_ends_an_episode_with_its_reason() -> None:
    success, seconds, word = run(SmallGraph(fault_after_s=1.0))
    assert (success, word) == (False, "fault: no fresh plan") and seconds < 1.1


def test_arming_is_tried_again_for_a_while() -> None:
    assert run(SmallGraph(refusals=3))[0] is True
    assert run(SmallGraph(refusals=1000)) == (False, 0.0, "not armed: joint states are stale")


def test_a_policy_that_does_not_answer_moves_nothing() -> None:
    class Silent(SmallGraph):
        def has_answered(self) -> bool:
            return False

    graph = Silent()
    assert run(graph) == (False, 0.0, "the policy did not answer within 5 s")
    assert "arm" not in graph.said


def test_a_sentence_without_a_task_has_no_success() -> None:
    success, seconds, word = run(SmallGraph(), DemoEpisode("dance", "", 0))
    assert (success, word) == (None, "ended") and seconds == pytest.approx(5.0, abs=0.05)


def test_an_interrupted_episode_still_stops_the_robot() -> None:
    class Interrupted(SmallGraph):
        def fault(self) -> str | None:
            raise KeyboardInterrupt

    graph = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        run(graph)
    assert graph.said[-1] == "stop"


def test_an_episode_interrupted_before_the_commander_answers_stops_the_robot() -> None:
    class Interrupted(SmallGraph):
        def arm(self) -> str | None:
            super().arm()
            raise KeyboardInterrupt  # the commander has armed, its answer is still on the way

    graph = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        run(graph)
    assert graph.armed_s is None and graph.said[-1] == "stop"


def test_waiting_for_the_nodes_has_an_end() -> None:
    graph = SmallGraph()
    graph.missing = 10_000
    with pytest.raises(VlaRosError, match="waited 60 s; policy is not active"):
        wait_until_ready(graph, Pace(), lambda text: None)


def test_a_series_writes_its_report_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings("", "tour", 2, 3, 5.0, tmp_path)
    results = conduct(SmallGraph(), [EPISODE, DemoEpisode("dance", "", 4)], settings)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["complete"] and report["episodes"] == 2 and report["success_rate"] == 1.0 and report["judged"] == 1
    assert report["by_task"] == {"push_left_red": {"success_rate": 1.0, "episodes": 1}}
    assert report["chunk_ms_p50"] == 100.0 and report["camera_to_command_without_inference_ms_p99"] == 6.0
    assert [row["task"] for row in report["results"]] == ["push_left_red", ""]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "01_push_the_red_block_to_the_left.gif",
        "02_dance.gif",
        "report.json",
        "sheet.png",
    ]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("1/2  push the red block") and "done" in lines[0]
    assert result_table(results).row_count == 3


def test_an_unfinished_series_says_so(tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", series_report([], complete=False))
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["complete"] is False and report["success_rate"] is None and report["chunk_ms_p50"] is None
