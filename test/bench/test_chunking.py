"""Smoothness of streams whose answer is known, and a short closed loop under delay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vla_ros.bench.chunking import Options, Stretch, bench_chunking, table
from vla_ros.evaluation.smoothness import Stream, smoothness

PERIOD_S = 0.01


def stream(positions: np.ndarray, boundaries: tuple[int, ...]) -> Stream:
    return Stream(positions[:, None], boundaries, PERIOD_S)


def test_a_sine_is_as_smooth_at_its_boundaries_as_between_them() -> None:
    t = np.arange(2000) * PERIOD_S
    found = smoothness([stream(np.sin(2 * t), tuple(range(0, 2000, 20)))], window=10)
    assert found["jerk_ratio"] == pytest.approx(1.0, rel=0.05)
    assert found["acceleration"]["boundary"]["max"] == pytest.approx(4.0, rel=0.01)
    assert found["jerk"]["middle"]["max"] == pytest.approx(8.0, rel=0.01)


def test_a_jump_is_found_where_it_is() -> None:
    t = np.arange(400) * PERIOD_S
    jumping = np.sin(2 * t) + 0.01 * (t >= t[200])
    found = smoothness([stream(jumping, (200,))], window=10)
    assert found["jerk_ratio"] > 50
    assert found["jerk"]["boundary"]["max"] == pytest.approx(2 * 0.01 / PERIOD_S**3, rel=0.01)
    elsewhere = smoothness([stream(jumping, (100,))], window=10)
    assert elsewhere["jerk_ratio"] < 1


def test_without_a_boundary_there_is_no_ratio() -> None:
    found = smoothness([stream(np.arange(50.0), ())], window=10)
    assert found["jerk_ratio"] is None and found["jerk"]["boundary"] is None


def test_the_first_chunk_after_a_stop_takes_over_from_standstill_and_from_no_other() -> None:
    stretch = Stretch(np.array([True, False]), 10_000_000)
    stretch.add(None, np.array([9.0, 9.0]))  # holding, before a chunk
    assert not stretch.begun
    for tick in range(4):
        if tick in (0, 2):
            stretch.take_over()
        stretch.add(None if tick == 3 else np.array([tick, 5.0]), np.array([tick / 2, 5.0]))
    plan, command = stretch.streams()
    assert plan.boundaries == command.boundaries == (2,)
    assert plan.positions.ravel().tolist() == [0, 1, 2, 2]  # where the plan is dry, its end
    assert command.positions.ravel().tolist() == [0, 0.5, 1, 1.5]
    empty, _ = Stretch(np.array([True, False]), 10_000_000).streams()
    assert smoothness([empty, plan], window=1) == smoothness([plan], window=1)


def test_every_mode_runs_under_delay_and_an_impossible_one_is_refused(tiny_model: Path) -> None:
    options = Options(episodes=1, delays=(0, 2, 8), executions=("switch", "real_time_chunking"))
    report = bench_chunking(str(tiny_model), options)
    rows = {(row["execution"], row["delay_steps"]): row for row in report["rows"]}
    assert len(rows) == 6
    assert "must last at most 6 of 12 steps, got 8" in rows["real_time_chunking", 8].pop("refused")
    for key, row in rows.items():
        if key != ("real_time_chunking", 8):
            assert row["plan"]["jerk"]["boundary"]["mean"] > 0 and row["idle_s"] >= 0
    jumps = {key: row["plan"]["jerk_ratio"] for key, row in rows.items() if key[1] == 2}
    assert jumps["switch", 2] > 2 * jumps["real_time_chunking", 2]
    report["rows"][-1]["refused"] = "no"
    assert "refused: no" in table(report) and "switch" in table(report)
