"""Lines and progress of several processes on one screen."""

from __future__ import annotations

import io

from vla_ros.launcher.output import LineSplitter, Screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_carry_the_name_of_their_process_however_the_bytes_arrive() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    a, b = LineSplitter(screen, "a"), LineSplitter(screen, "b")
    a.feed(b"one\ntw")
    b.feed(b"other\n")
    a.feed("ö\nrest".encode())
    a.close()
    assert stream.getvalue() == "[a] one\n[b] other\n[a] twö\n[a] rest\n"


def test_bytes_that_are_no_text_do_not_end_the_reader() -> None:
    stream = io.StringIO()
    LineSplitter(Screen(stream), "a").feed(b"\xff\xfe\n")
    assert stream.getvalue() == "[a] \ufffd\ufffd\n"


def test_progress_is_left_out_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    lines = LineSplitter(Screen(stream), "a")
    lines.feed(b"10 %\r")
    lines.feed(b"20 %\rdone\n")
    assert stream.getvalue() == "[a] done\n"


def test_progress_stays_below_the_lines_of_others_on_a_terminal() -> None:
    stream = Terminal()
    screen = Screen(stream)
    LineSplitter(screen, "a").feed(b"10 %\r")
    LineSplitter(screen, "b").feed(b"hello\r\n")
    written = stream.getvalue()
    assert written.index("10 %") < written.index("hello") < written.rindex("10 %")
    assert written.rstrip().endswith("10 %") and not written.endswith("\n")


def test_the_last_line_of_a_process_takes_its_progress_away() -> None:
    stream = Terminal()
    lines = LineSplitter(Screen(stream), "a")
    lines.feed(b"10 %\r20 %\r")
    lines.feed(b"done\n")
    lines.feed(b"more\n")
    assert stream.getvalue().count("20 %") == 1 and "10 %" not in stream.getvalue()


def test_a_closed_reader_does_not_stop_the_launch() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    stream.close()
    screen.line("a", "text")
    screen.line("a", "more")
