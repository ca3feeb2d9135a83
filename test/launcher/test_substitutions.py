"""Substitutions in the text of launch files."""

from __future__ import annotations

from pathlib import Path

import pytest

from vla_ros.core.errors import ConfigError
from vla_ros.launcher.substitutions import Scope, expand

SCOPE = Scope({"robot": "ur5e", "speed": "0.5"}, {"HOME": "/home/u", "EMPTY": ""})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text, (brackets) and $ signs", "plain text, (brackets) and $ signs"),
        ("", ""),
        ("$(var robot)", "ur5e"),
        ("a-$(var robot)-b-$(var speed)", "a-ur5e-b-0.5"),
        ("$(env HOME)/x", "/home/u/x"),
        ("$(env EMPTY default)", ""),
        ("$(env MISSING default)", "default"),
        ("$(env MISSING 'two words')", "two words"),
        ("$(env MISSING '')", ""),
        ("$(env MISSING $(env HOME)/$(var robot).yaml)", "/home/u/ur5e.yaml"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, SCOPE) == expected


def test_values_are_not_expanded_again() -> None:
    assert expand("$(var x)", Scope({"x": "$(var y)"})) == "$(var y)"


def test_share_of_this_package_and_of_others(tmp_path: Path) -> None:
    assert (Path(expand("$(find-pkg-share vla_ros)", SCOPE)) / "config" / "robots").is_dir()
    (tmp_path / "share" / "other").mkdir(parents=True)
    scope = Scope({}, {"AMENT_PREFIX_PATH": f"/nowhere:{tmp_path}"})
    assert expand("$(find-pkg-share other)/x", scope) == f"{tmp_path}/share/other/x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$(var robt)", r"\$\(var robt\): no such argument; did you mean 'robot'\?"),
        ("$(vra robot)", r"no substitution 'vra'; did you mean 'var'\?"),
        ("$(eval 1 + 1)", "no substitution 'eval'; known: env, find-pkg-share, var"),
        ("$(var robot", "is never closed"),
        ("$(var)", r"must be like \$\(var NAME\), got 0 words"),
        ("$(var a b)", "got 2 words"),
        ("$(env MISSING)", r"not set; .*give a default: \$\(env MISSING DEFAULT\)"),
        ("$(env MISSING 'open)", "quote is never closed"),
        ("$(find-pkg-share nothing_such)", "package 'nothing_such' is not in AMENT_PREFIX_PATH"),
        ("a\\$(var robot)", "backslashes are escapes"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        expand(text, SCOPE)
