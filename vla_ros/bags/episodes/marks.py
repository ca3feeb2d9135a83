"""Episode marks: what the recorder writes on `/episode` when an episode begins and ends, and what an operator says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from vla_ros.core.errors import MessageError

EPISODE = "episode"  # as nodes call it: in their namespace
EPISODE_TOPIC = f"/{EPISODE}"  # on bags
OPEN_NS = 2**62  # the end of an episode that was never ended


@dataclass(frozen=True, slots=True)
class Span:
    """A marked episode, by the times at which its marks were received. success: None if unmarked."""

    start_ns: int
    end_ns: int
    success: bool | None = None
    note: str = ""


def mark_text(event: str, success: bool | None = None, **more: object) -> str:
    """Return the text that `parse_mark` reads."""
    return json.dumps({"event": event} | ({} if success is None else {"success": success}) | more)


def parse_mark(text: str) -> dict[str, object]:
    """Parse `{"event": "start" | "end", "success": true | false | null, "note": "..."}`; other keys are free."""
    try:
        mark = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"episode mark {text[:80]!r} is not JSON: {error}") from None
    if not isinstance(mark, dict) or mark.get("event") not in ("start", "end"):
        raise MessageError(f'episode mark {text[:80]!r} must be {{"event": "start"}} or {{"event": "end"}}')
    return mark


def spans_of(marks: Iterable[tuple[int, dict[str, object]]], end_ns: int = OPEN_NS) -> list[Span]:
    """Return the episodes between marks (time of reception, mark); one without an end lasts until `end_ns`."""
    spans: list[Span] = []
    started: int | None = None
    for moment_ns, mark in marks:
        if started is not None:
            success = mark.get("success") if mark["event"] == "end" else None
            spans.append(Span(started, moment_ns, success if isinstance(success, bool) else None, _note(mark)))
        started = moment_ns if mark["event"] == "start" else None
    return spans if started is None else [*spans, Span(started, end_ns)]


def _note(mark: dict[str, object]) -> str:
    return str(mark.get("note") or "") if mark["event"] == "end" else ""
