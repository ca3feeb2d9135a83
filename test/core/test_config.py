"""Strict YAML: every mistake gives one line that says where and what would be right."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.core.config import load_yaml, parse, read_yaml, to_plain
from vla_ros.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Inner:
    size: int
    kind: Literal["small", "large"] = "small"


@dataclass(frozen=True, slots=True)
class Outer:
    joint_names: tuple[str, ...]
    rate_hz: float
    inner: Inner
    flag: bool = False
    pair: tuple[float, float] = (0.0, 1.0)
    by_name: Mapping[str, Inner] | None = None
    items: tuple[Inner, ...] = ()

    def __post_init__(self) -> None:
        if self.rate_hz <= 0:
            raise ConfigError(f"rate_hz must be > 0, got {self.rate_hz}")


GOOD = "joint_names: [a, b]\nrate_hz: 10\ninner: {size: 3}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "robot.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_nested_values_and_defaults(tmp_path: Path) -> None:
    outer = read_yaml(write(tmp_path, GOOD + "by_name: {x: {size: 1, kind: large}}\nitems: [{size: 2}]\n"), Outer)
    assert outer == Outer(("a", "b"), 10.0, Inner(3), by_name={"x": Inner(1, "large")}, items=(Inner(2),))
    assert isinstance(outer.rate_hz, float)


def test_exponent_without_a_dot_is_a_number(tmp_path: Path) -> None:
    assert load_yaml(write(tmp_path, "a: 1e-3\nb: -2E4\nc: 1e")) == {"a": 0.001, "b": -20000.0, "c": "1e"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("joint_names", "join_names"), r"unknown key 'join_names'; did you mean 'joint_names'\?"),
        (GOOD.replace("rate_hz: 10\n", ""), "the key 'rate_hz' is missing"),
        (GOOD.replace("size", "sise"), r"inner: unknown key 'sise'; did you mean 'size'\?"),
        (GOOD.replace("10", "'10'"), "rate_hz: must be a finite number, got '10'"),
        (GOOD.replace("10", ".nan"), "rate_hz: must be a finite number, got nan"),
        (GOOD.replace("10", ".inf"), "rate_hz: must be a finite number, got inf"),
        (GOOD.replace("10", "true"), "rate_hz: must be a finite number, got True"),
        (GOOD.replace("10", "-1"), "rate_hz must be > 0, got -1.0"),
        (GOOD.replace("3", "3.0"), "inner.size: must be a whole number, got 3.0"),
        (GOOD.replace("3", "true"), "inner.size: must be a whole number, got True"),
        (GOOD.replace("[a, b]", "a"), "joint_names: must be a list, got 'a'"),
        (GOOD.replace("[a, b]", "[a, 1]"), r"joint_names\[1\]: must be text, got 1"),
        (GOOD.replace("{size: 3}", "3"), "inner: must be a block"),
        (GOOD.replace("{size: 3}", "{size: 3, kind: huge}"), "inner.kind: must be one of small, large, got 'huge'"),
        (GOOD + "rate_hz: 11\n", "line 4: key 'rate_hz' is given twice"),
        (GOOD + "pair: [1.0]\n", "pair: must have 2 items, got 1"),
        (GOOD + "by_name: {1: {size: 1}}\n", "by_name: the key 1 is not text"),
        (GOOD + "items: [{size: 1}, {size: x}]\n", r"items\[1\].size: must be a whole number, got 'x'"),
        (GOOD + "flag: !!python/object/apply:os.system ['true']\n", "not valid YAML: line .*: could not determine"),
        (
            "joint_names: [a\n",
            r"not valid YAML: line 2, column 1: expected ',' or '\]', but got '<stream end>', while parsing",
        ),
        ("name: a\n rate: b\n", "not valid YAML: line 2, column 6: mapping values are not allowed here$"),
        (
            "name: \a\n",
            "not valid YAML: unacceptable character #x0007: special characters are not allowed, position 6$",
        ),
        ("? [a]\n: 1\n", "not valid YAML|is not text"),
        ("", "must be a block of 'key: value' lines, got None"),
    ],
)
def test_each_mistake_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_yaml(path, Outer)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_folder_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_yaml(tmp_path / "none.yaml", Outer)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path, Outer)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "binary.yaml", Outer)
    (tmp_path / "big.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError, match="larger than"):
        read_yaml(tmp_path / "big.yaml", Outer)


def test_bombs_of_aliases_and_of_brackets_go_off_harmlessly(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
    with pytest.raises(ConfigError, match=r"more than 10\^9 values with its aliases expanded; the limit is 100000"):
        load_yaml(write(tmp_path, "\n".join(lines)))
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_yaml(write(tmp_path, "[" * 100_000), Outer)


def test_a_file_of_very_many_values_is_not_read_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds more than 100000 values"):
        load_yaml(write(tmp_path, "[" + "a," * 490_000 + "a]"))


@pytest.mark.parametrize("text", ["&a {joint_names: *a}", "&a [*a]", "x: &a {y: [*a, 1]}"])
def test_a_block_that_holds_itself_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="line 1: an alias stands for a block that it lies in"):
        load_yaml(write(tmp_path, text))


def test_aliases_and_merges_of_honest_files_are_read(tmp_path: Path) -> None:
    text = "base: &b {size: 1, kind: small}\nitems: [{<<: *b, size: 2}, *b]\n"
    small = {"size": 1, "kind": "small"}
    assert load_yaml(write(tmp_path, text)) == {"base": small, "items": [{**small, "size": 2}, small]}


@pytest.mark.parametrize("digits", ["1" * 100, "1" + ":1" * 300_000, "1" + ":1" * 300_000 + ".5", "0x" + "f" * 999_000])
def test_a_number_of_endless_digits_costs_no_time(tmp_path: Path, digits: str) -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"line 2: a number of \d+ characters"):
        load_yaml(write(tmp_path, f"a: 1\nb: {digits}\n"))
    assert time.monotonic() - began < 5


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to would wait for ever."""
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(ConfigError, match=r"(pipe\.yaml|zero): cannot be read: not a regular file"):
            load_yaml(path)


def test_a_value_that_a_network_refuses_is_named_with_its_place() -> None:
    @dataclass(frozen=True)
    class Network:
        dim: int

        def __post_init__(self) -> None:
            raise ValueError(f"dim must be 1 to 9, got {self.dim}")

    with pytest.raises(ConfigError, match=r"^x\.yaml: dim must be 1 to 9, got 10$"):
        parse({"dim": 10}, Network, "x.yaml")


@given(st.integers(), st.floats(0.1, 1e9), st.lists(st.text("abc_", min_size=1)))
def test_what_is_written_is_read_back(size: int, rate: float, names: list[str]) -> None:
    outer = Outer(tuple(names), rate, Inner(size, "large"), items=(Inner(1),))
    assert parse(yaml.safe_load(yaml.safe_dump(to_plain(outer))), Outer, "memory") == outer
