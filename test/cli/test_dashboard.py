"""`vla-ros dashboard`: how a token reaches the node without being seen by others."""

from __future__ import annotations

import argparse
import os
import sys

import pytest

from vla_ros.cli import dashboard
from vla_ros.core.errors import ConfigError
from vla_ros.nodes import dashboard as node


def passed_on(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[str, str, bool]:
    """(the node's command line, the token it will find, whether it may print that)."""
    shown: list[bool] = []
    monkeypatch.setattr(node, "main", lambda show_token: shown.append(show_token))
    monkeypatch.setattr(sys, "argv", ["vla-ros"])
    parser = argparse.ArgumentParser()
    dashboard.add_arguments(parser)
    assert dashboard.run(parser.parse_args(words)) == 0
    return " ".join(sys.argv), os.environ.get(node.TOKEN_VARIABLE, ""), shown[0]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(node.TOKEN_VARIABLE, "")


def test_a_token_goes_by_the_environment_and_never_by_a_parameter(monkeypatch):
    line, token, shown = passed_on(monkeypatch, "--host", "0.0.0.0", "--token", "a-long-secret")
    assert token == "a-long-secret" and token not in line and not shown


def test_one_is_drawn_and_shown_only_where_the_address_needs_one_and_none_is_given(monkeypatch, tmp_path):
    assert passed_on(monkeypatch)[1:] == ("", False)
    line, token, shown = passed_on(monkeypatch, "--host", "0.0.0.0")
    assert len(token) > 20 and token not in line and shown
    monkeypatch.setenv(node.TOKEN_VARIABLE, "from-outside")
    assert passed_on(monkeypatch, "--host", "0.0.0.0")[1:] == ("from-outside", False)
    line, _, shown = passed_on(monkeypatch, "--host", "0.0.0.0", "--token-file", str(tmp_path / "token"))
    assert "token_file:=" in line and not shown


def test_a_token_is_read_from_the_first_line_of_a_file(tmp_path, monkeypatch):
    path = tmp_path / "token"
    path.write_text("  a-long-secret \nsomething else\n")
    assert node.read_token(str(path)) == "a-long-secret"
    monkeypatch.setenv(node.TOKEN_VARIABLE, " from-outside\n")
    assert node.read_token("") == "from-outside"
    path.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        node.read_token(str(path))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        node.read_token(str(tmp_path / "absent"))
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        node.read_token(str(path))
