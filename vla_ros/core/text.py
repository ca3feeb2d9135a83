"""Text of others within our messages: never longer than a person reads."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST, NAMES, NAME_LONGEST = 300, 8, 60


def shorten(text: str, longest: int = LONGEST) -> str:
    """`text`, or its beginning where it has more than `longest` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def listed(names: Sequence[str], most: int = NAMES) -> str:
    """`a, b, c`, each shortened; `a, b and 7 more` where there are many; `none`."""
    shown = ", ".join(shorten(name, NAME_LONGEST) for name in names[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return shown + more or "none"
