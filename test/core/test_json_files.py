"""What is wrong with a JSON file is one line that begins with the file's name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vla_ros.core.errors import ConfigError
from vla_ros.core.json_files import read_json


def test_every_fault_names_the_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "latin.json").write_bytes(b'"\xe9"')
    (tmp_path / "twice.json").write_text('{"a": 1, "a": 2}')
    (tmp_path / "large.json").write_text(" " * 101)
    for name, message in (
        ("absent", "no such file"),
        ("pipe", "not a regular file"),
        ("folder", "cannot be read"),
        ("latin", "not UTF-8"),
        ("twice", "key 'a' is given twice"),
        ("large", "larger than 100 bytes"),
    ):
        path = tmp_path / f"{name}.json"
        with pytest.raises(ConfigError, match=message) as caught:
            read_json(path, 100)
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_what_is_right_comes_back(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, 2.5, null, true, "x"]}')
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None, True, "x"]}
