"""Text of strangers (topic names, types, logs) as it may be shown on a terminal."""

from __future__ import annotations

import re
import unicodedata

# C0 and C1 controls, and the characters that turn the direction of what follows. A terminal obeys them.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_COLOUR = re.compile("(\x1b\\[[0-9;]{0,20}m)")


def printable(text: str, longest: int = 0) -> str:
    r"""`text` with every character that a terminal would obey spelled out (`\x1b`); cut after `longest`, 0: never."""
    shown = _OBEYED.sub(_spelled, text)
    return f"{shown[:longest]}..." if 0 < longest < len(shown) else shown


def printable_line(text: str) -> str:
    """Spell out what a terminal would obey in one line of a log; colours and tabs stay."""
    parts = _COLOUR.split(text)  # every second one is a colour
    return "".join(
        part if number % 2 else "\t".join(map(printable, part.split("\t"))) for number, part in enumerate(parts)
    )


def columns(text: str) -> int:
    """Return how many columns of a terminal `text` takes; wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text if not unicodedata.combining(one))


def _spelled(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
