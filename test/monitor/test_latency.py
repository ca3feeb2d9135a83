"""Joining both halves of a chunk's timing."""

from __future__ import annotations

import pytest

from vla_ros.monitor.latency import ChunkLatency, TimingLog, percentiles
from vla_ros.monitor.top import StageLog, stage_table


def policy(stamp: int, inference: float = 100.0) -> dict[str, str]:
    return {"stamp_ns": str(stamp), "wait_ms": "1.5", "inference_ms": str(inference), "published_ms": "110"}


def commander(stamp: int, first: float = 108.0) -> dict[str, str]:
    return {"stamp_ns": str(stamp), "chunk_ms": "104", "first_command_ms": str(first)}


def test_halves_are_joined_by_stamp_whichever_comes_first() -> None:
    log = TimingLog()
    log.add_policy(policy(2, 90.0))
    log.add_commander(commander(2, 99.5))
    log.add_commander(commander(1))
    log.add_policy(policy(1))
    log.add_policy(policy(3))
    first, second = log.take()
    assert (first.stamp_ns, second.stamp_ns) == (1, 2)
    assert second.transport_ms == pytest.approx(9.5) and second.wait_ms == 1.5
    assert log.take() == ()


def test_the_newest_answer_is_known_before_it_is_executed() -> None:
    log = TimingLog()
    assert log.newest_stamp_ns == 0
    log.add_policy(policy(7))
    log.add_policy(policy(5))
    assert log.newest_stamp_ns == 7


@pytest.mark.parametrize("values", [{}, {"stamp_ns": "x"}, {"stamp_ns": "1", "inference_ms": "fast"}])
def test_a_timing_of_another_make_is_left_out(values: dict[str, str]) -> None:
    log = TimingLog()
    log.add_policy(values)
    log.add_commander(commander(1))
    assert log.take() == ()


def test_the_log_is_bounded() -> None:
    log = TimingLog(limit=3)
    for stamp in range(10):
        log.add_policy(policy(stamp))
        log.add_commander(commander(stamp))
    assert [chunk.stamp_ns for chunk in log.take()] == [7, 8, 9]


def test_percentiles_leave_out_what_is_not_finite() -> None:
    found = percentiles([1.0, 2.0, 3.0, float("nan")])
    assert (found.p50, found.count) == (2.0, 3) and found.p99 == pytest.approx(2.98)
    assert percentiles([]).p50 is None


def test_the_stages_add_up_to_the_whole_way() -> None:
    log = TimingLog()
    log.add_policy(policy(1) | {"received_ms": "5", "decode_ms": "0.5"})
    log.add_commander(commander(1))
    (chunk,) = log.take()
    assert chunk.stages_ms == pytest.approx(
        {
            "camera to policy": 4.5,
            "decode": 0.5,
            "wait": 1.5,
            "inference": 100.0,
            "publish": 3.5,
            "policy to commander": -6.0,
            "first command": 4.0,
        }
    )
    assert sum(chunk.stages_ms.values()) == pytest.approx(chunk.first_command_ms)


def test_choosing_is_a_stage_of_its_own_where_it_is_on() -> None:
    log, stages = TimingLog(), StageLog(limit=2)
    log.add_policy(policy(1) | {"received_ms": "5", "decode_ms": "0.5", "choice_ms": "2.5"})
    log.add_commander(commander(1))
    chunks = log.take()
    assert chunks[0].stages_ms["imagine and choose"] == 2.5 and chunks[0].stages_ms["publish"] == 1.0
    assert sum(chunks[0].stages_ms.values()) == pytest.approx(chunks[0].first_command_ms)
    stages.add(chunks)
    assert stages.stages()["imagine and choose"].p50 == 2.5


def test_top_shows_stages_and_words() -> None:
    log = StageLog(limit=2)
    log.add(ChunkLatency(i, 1.0, 10.0 * i, 20.0 * i) for i in range(1, 4))
    text = stage_table(log.stages(), {"policy": "planning"})
    assert "last 2 chunks" in text and "planning" in text
    (line,) = [line for line in text.splitlines() if line.startswith("camera to command")]
    assert line.split()[-2:] == ["50.00", "59.80"]
    assert "-" in text  # a stage that nobody told
    assert stage_table(StageLog().stages(), {}).startswith("last 0 chunks")
