"""Bounds of what a config may ask for, so that a wrong number is one line and not a machine without memory."""

from __future__ import annotations

MOST_LAYERS = 128
MOST_UNITS = 32768  # of a vector; the largest language models have half of that
MOST_HEADS = 256
MOST_TOKENS = 65536
MOST_WORDS = 1 << 20


def check_sizes(config: object, of: str = "", **bounds: tuple[float, float]) -> None:
    """ValueError unless each field of `config` that is named lies within its bounds, both included.

    A field that is a tuple is checked number by number. of: what the message puts before a field's name.
    """
    for name, (least, most) in bounds.items():
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else (value,):
            if not least <= number <= most:
                raise ValueError(f"{of}{name} must be {least} to {most}, got {number}")
