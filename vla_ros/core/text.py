"""Text of others within our messages: never longer than a person reads, and without what would steer a terminal."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST, NAMES, NAME_LONGEST = 300, 8, 60


def shorten(text: str, longest: int = LONGEST) -> str:
    """Return `text`, or its beginning where it has more than `longest` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def name_of(foreign: str) -> str:
    """Return a name out of a message: shortened, its control characters written out."""
    cut = foreign[: NAME_LONGEST + 1]
    return shorten(cut if cut.isprintable() else "".join(map(_written, cut)), NAME_LONGEST)


def listed(names: Sequence[str], most: int = NAMES) -> str:
    """Return `a, b, c`, each shortened; `a, b and 7 more` where there are many; `none`."""
    shown = ", ".join(name_of(name) for name in names[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return shown + more or "none"


def _written(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
