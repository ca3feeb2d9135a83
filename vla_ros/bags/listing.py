"""Formats the contents of a bag as text: a table if it fits, else one block per topic. Names are never cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vla_ros.bags.info import TopicInfo
from vla_ros.core.printable import columns, printable

_TITLES = ("topic", "type", "messages", "Hz", "longest gap s", "stamp to receipt ms, p50 / p99", "note")
_NUMBERS = range(2, 6)  # right-aligned columns
_GAP = "  "


def listing(found: dict[str, Any], topics: Sequence[TopicInfo], width: int) -> Iterator[str]:
    """Yield the lines. width: columns of the terminal; 0 for a file or a pipe, which gets blocks."""
    yield f"{printable(found['bag'])}: {found['storage']}, {found['seconds']:.1f} s, {found['messages']} messages"
    if found["metadata"]:
        yield f"{printable(found['metadata'], 300)}; `vla-ros bag repair {printable(found['bag'])}` writes it anew"
    rows = [_cells(topic) for topic in topics]
    widths = [max(columns(row[k]) for row in (_TITLES, *rows)) for k in range(len(_TITLES))]
    if sum(widths) + len(_GAP) * (len(widths) - 1) <= width:
        for row in (_TITLES, *rows):
            yield _GAP.join(_set(text, widths[k], k in _NUMBERS) for k, text in enumerate(row)).rstrip()
    else:
        for row in rows:
            yield from _block(row)
    if found["missing"]:
        yield f"the contract's topics that are missing: {', '.join(map(printable, found['missing']))}"


def _cells(topic: TopicInfo) -> tuple[str, ...]:
    late = "" if topic.late_ms is None else "{:.1f} / {:.1f}".format(*topic.late_ms)
    numbers = str(topic.count), f"{topic.rate_hz:.1f}", f"{topic.longest_gap_s:.3f}", late
    return printable(topic.name), printable(topic.type), *numbers, printable(topic.problem, 200)


def _set(text: str, width: int, right: bool) -> str:
    blanks = " " * (width - columns(text))
    return blanks + text if right else text + blanks


def _block(row: Sequence[str]) -> Iterator[str]:
    name, kind, count, rate_hz, gap_s, late_ms, problem = row
    yield name
    yield f"{_GAP}{kind}"
    yield f"{_GAP}{count} messages, {rate_hz} Hz, longest gap {gap_s} s"
    if late_ms:
        yield f"{_GAP}stamp to receipt {late_ms} ms (p50 / p99)"
    if problem:
        yield f"{_GAP}note: {problem}"
