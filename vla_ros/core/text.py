"""Text of others, made fit for a log line or a status: short, and without what would steer a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

MAX_TEXT = 300  # characters of one line that we say
MAX_NAME = 64  # of one foreign name within it
MAX_NAMES = 8


def shorten(text: str, limit: int = MAX_TEXT) -> str:
    """At most `limit` characters; what was cut is said by an ellipsis."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "\N{HORIZONTAL ELLIPSIS}"


def name_of(foreign: str) -> str:
    """A name out of a message: short, its control characters written out."""
    cut = foreign[: MAX_NAME + 1]
    plain = cut if cut.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
    return shorten(plain, MAX_NAME)


def names_of(foreign: Iterable[str]) -> str:
    """Names out of a message: the first few, and how many more; `none` where there is none."""
    names = list(foreign)
    if not names:
        return "none"
    first = ", ".join(name_of(name) for name in islice(names, MAX_NAMES))
    return first if len(names) <= MAX_NAMES else f"{first} and {len(names) - MAX_NAMES} more"
