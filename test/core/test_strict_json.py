"""JSON as strict as the YAML files: one line for every fault, and nothing guessed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vla_ros.core.errors import ConfigError, ModelError
from vla_ros.core.strict_json import load_json, read_json


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "key 'a' is given twice"),
        ('{"x": {"a": 1, "b": 0, "a": 1}}', "key 'a' is given twice"),
        ("[NaN]", "NaN is not a number"),
        ("[-Infinity]", "-Infinity is not a number"),
        ("[1,", "not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 200_000, "nested too deeply"),
        ("9" * 10_000, "not valid JSON"),
    ],
)
def test_a_fault_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_json(text, "info.json")
    assert str(caught.value).startswith("info.json: ") and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_what_is_right_comes_back() -> None:
    assert load_json('{"a": [1, 2.5, null, true, "x"]}', "x") == {"a": [1, 2.5, None, True, "x"]}


def test_files_that_are_none_are_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        read_json(tmp_path / "absent.json", error=ModelError)
    with pytest.raises(ConfigError, match="not a file"):
        read_json(tmp_path)
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ConfigError, match="not a file"):
        read_json(tmp_path / "pipe.json")
    (tmp_path / "big.json").write_text(" " * 101)
    with pytest.raises(ConfigError, match="at most 100"):
        read_json(tmp_path / "big.json", max_bytes=100)
    (tmp_path / "latin.json").write_bytes(b'"\xe9"')
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_json(tmp_path / "latin.json")
