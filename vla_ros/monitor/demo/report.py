"""The table at the end of a series, and the same as plain data."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vla_ros.monitor.demo.episodes import DemoResult
from vla_ros.monitor.latency import ChunkLatency, Percentiles, percentiles

PLAIN_WIDTH = 118
MARKS = {True: "[green]yes[/green]", False: "[red]no[/red]", None: "-"}


def series_report(results: Sequence[DemoResult], *, complete: bool) -> dict[str, Any]:
    """Return success and latencies over all episodes and of each, for JSON. complete: whether all of them ran."""
    judged = [result for result in results if result.success is not None]
    done = sum(bool(result.success) for result in judged)
    return {
        "complete": complete,
        "episodes": len(results),
        "judged": len(judged),
        "successes": done,
        "success_rate": round(done / len(judged), 4) if judged else None,
        "by_task": _by_task(judged),
        **_latencies([chunk for result in results for chunk in result.chunks]),
        "results": [_row(result) for result in results],
    }


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write a report so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def result_table(results: Sequence[DemoResult]) -> Table:
    """Return the table at the end; all times but the seconds in ms, as p50 / p99."""
    grid = Table()
    grid.add_column("instruction")
    grid.add_column("success", justify="center")
    for name in (
        "seconds",
        "chunk\np50 / p99 ms",
        "camera to command\np50 / p99 ms",
        "the same without\ninference, ms",
    ):
        grid.add_column(name, justify="right")
    for result in results:
        why = f"\n[dim]{_plain(result.reason)}[/dim]" if result.reason else ""
        grid.add_row(
            _plain(result.episode.instruction) + why,
            MARKS[result.success],
            f"{result.seconds:.1f}",
            *_cells(result.chunks),
        )
    everything = [chunk for result in results for chunk in result.chunks]
    judged = [bool(result.success) for result in results if result.success is not None]
    grid.add_section()
    grid.add_row(f"all {len(results)}", f"{sum(judged)}/{len(judged)}", "", *_cells(everything))
    return grid


def show(results: Sequence[DemoResult], folder: Path) -> None:
    """Print the table, as wide as the terminal, or `PLAIN_WIDTH` without one."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    console.print(result_table(results))
    console.print(f"report and pictures: {folder}", markup=False)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _by_task(judged: Sequence[DemoResult]) -> dict[str, dict[str, float | int]]:
    groups: dict[str, list[bool]] = {}
    for result in judged:
        groups.setdefault(result.episode.task, []).append(bool(result.success))
    return {
        task: {"success_rate": round(sum(done) / len(done), 4), "episodes": len(done)} for task, done in groups.items()
    }


def _measures(chunks: Sequence[ChunkLatency]) -> dict[str, Percentiles]:
    return {
        "chunk": percentiles(chunk.inference_ms for chunk in chunks),
        "camera_to_command": percentiles(chunk.first_command_ms for chunk in chunks),
        "camera_to_command_without_inference": percentiles(chunk.transport_ms for chunk in chunks),
    }


def _latencies(chunks: Sequence[ChunkLatency]) -> dict[str, float | int | None]:
    found: dict[str, float | int | None] = {"chunks": len(chunks)}
    for name, values in _measures(chunks).items():
        found[f"{name}_ms_p50"], found[f"{name}_ms_p99"] = values.p50, values.p99
    return found


def _cells(chunks: Sequence[ChunkLatency]) -> list[str]:
    return [
        "-" if values.p50 is None or values.p99 is None else f"{_short(values.p50)} / {_short(values.p99)}"
        for values in _measures(chunks).values()
    ]


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _row(result: DemoResult) -> dict[str, Any]:
    return {
        "instruction": result.episode.instruction,
        "task": result.episode.task,
        "seed": result.episode.seed,
        "success": result.success,
        "seconds": round(result.seconds, 2),
        "reason": result.reason,
        **_latencies(result.chunks),
    }
