"""The table of faults: every test fills one row, and the rows are printed at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("harness")  # its assertions say what they compared

from harness import Graph, Row, running_graph  # noqa: E402

ROWS = pytest.StashKey[list[Row]]()
WIDTHS = (36, 36, 84, 6)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Callable[[str, str], Row]:
    """Begins a row of the table: row(fault, expected)."""

    def begin(fault: str, expected: str) -> Row:
        made = Row(fault, expected, test=request.node.nodeid)
        request.config.stash[ROWS].append(made)
        return made

    return begin


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """The robot with a commander, armed by nobody yet; one for all tests of a file."""
    edits = (("lower: [-1.2, -1.2, -0.4]", "lower: [-1.2, -1.2, 0.05]"),)  # a workspace that the arm can leave
    with running_graph(tmp_path_factory.mktemp("graph"), edits=edits) as found:
        found.start("commander")
        yield found


@pytest.fixture
def fresh_graph(tmp_path: Path) -> Iterator[Graph]:
    """The robot without any node, for one test."""
    with running_graph(tmp_path) as found:
        yield found


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if not rows:
        return
    failed = {report.nodeid for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, [])}
    terminalreporter.section("faults")
    terminalreporter.write_line(_line("fault", "expected", "observed", "hold s"))
    terminalreporter.write_line(_line(*("-" * width for width in WIDTHS)))
    for one in rows:
        hold = "-" if one.hold_s is None else f"{one.hold_s:.3f}"
        observed = f"FAILED {one.observed}" if one.test in failed else one.observed
        terminalreporter.write_line(_line(one.fault, one.expected, observed, hold), red=one.test in failed)
    held = [one.hold_s for one in rows if one.hold_s is not None]
    summary = f"{len(rows)} faults, {len(failed)} failed; the longest hold took {max(held, default=0.0):.3f} s"
    terminalreporter.write_line(summary)
    if page := os.environ.get("FAULTS_PAGE"):
        _write_page(Path(page), rows, failed, summary)


def _write_page(page: Path, rows: list[Row], failed: set[str], summary: str) -> None:
    """Put the table in the place of the one that a page of the docs has."""
    lines = ["| fault | expected | observed | time to hold |", "|---|---|---|---|"]
    for one in rows:
        observed = f"**failed** {one.observed}" if one.test in failed else one.observed
        cells = (one.fault, one.expected, observed[: WIDTHS[2]], "" if one.hold_s is None else f"{one.hold_s:.3f} s")
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    head = page.read_text(encoding="utf-8").split("<!-- table -->")[0]
    page.write_text("\n".join([f"{head}<!-- table -->", f"`{summary}`", "", *lines, ""]), encoding="utf-8")


def _line(*cells: str) -> str:
    fitted = (
        cell if len(cell) <= width else cell[: width - 1] + "…" for cell, width in zip(cells, WIDTHS, strict=True)
    )
    return " | ".join(cell.ljust(width) for cell, width in zip(fitted, WIDTHS, strict=True))
