"""What strangers wrote is shown and not obeyed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.printable import columns, printable, printable_line


def test_what_a_terminal_obeys_is_spelled_out() -> None:
    assert printable("/a\x1b]0;x\x07b\n") == "/a\\x1b]0;x\\x07b\\x0a"
    assert printable("\x9b2J \u202e \ud800") == "\\x9b2J \\u202e \\ud800"
    assert printable("Überblick 日本 👋 [bold]") == "Überblick 日本 👋 [bold]"
    assert printable("x" * 100, 10) == "x" * 10 + "..."


def test_a_line_of_a_log_keeps_its_colours_and_tabs() -> None:
    assert printable_line("\x1b[31mred\x1b[0m\tb") == "\x1b[31mred\x1b[0m\tb"
    assert printable_line("\x1b]0;owned\x07 \x1b[2J \x1b[1A") == "\\x1b]0;owned\\x07 \\x1b[2J \\x1b[1A"


def test_columns_of_a_terminal() -> None:
    assert (columns("abc"), columns("日本"), columns("e\u0301")) == (3, 4, 1)


@given(st.text())
def test_no_text_steers(text: str) -> None:
    assert not any(ord(sign) < 32 or 0x7F <= ord(sign) < 0xA0 for sign in printable(text))
    printable(text).encode()
