"""Text of others stays short."""

from __future__ import annotations

from vla_ros.core.text import listed, shorten


def test_what_is_short_stays_as_it_is() -> None:
    assert shorten("x" * 300) == "x" * 300 and listed(["a", "b"]) == "a, b" and listed([]) == "none"


def test_what_is_long_is_cut_and_counted() -> None:
    assert shorten("x" * 301) == "x" * 299 + "…"
    names = [f"joint_{number}" for number in range(100_000)]
    assert listed(names).endswith("joint_7 and 99992 more") and len(listed(names)) < 100
    assert len(listed(["x" * 10**6] * 100)) < 600
