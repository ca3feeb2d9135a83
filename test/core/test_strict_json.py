"""JSON is read as strictly as YAML: every mistake is one line, and bombs cost neither time nor memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vla_ros.core.files import write_whole
from vla_ros.core.strict_json import load_json, parse_json


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "key 'a' is given twice; keep one"),
        ('[{"x": {"b": 1, "c": 2, "b": 1}}]', "key 'b' is given twice"),
        ("[NaN]", "NaN is not a finite number"),
        ("[1e999]", "1e999 is not a finite number"),
        ("[-Infinity]", "-Infinity is not a finite number"),
        ("[" * 65 + "]" * 65, "nested deeper than 64"),
        ("[" * 1_000_000, "nested deeper than 64"),
        ('{"a":' * 200_000, "nested deeper than 64"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        ("1" * 10_000, "Exceeds the limit"),
    ],
)
def test_each_mistake_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_json(text)
    assert "\n" not in str(caught.value)


def test_honest_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, '{"a": [1, 2.5, null, true, {"b": "é"}]}')
    assert load_json(path) == {"a": [1, 2.5, None, True, {"b": "é"}]}
    assert parse_json("[" * 64 + "]" * 64)
    assert os.listdir(tmp_path) == ["a.json"]


def test_pipes_and_large_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ValueError, match="not a regular file"):
        load_json(tmp_path / "pipe.json")
    (tmp_path / "large.json").write_text("[" + "1," * 1000 + "1]")
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        load_json(tmp_path / "large.json", 1000)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]
