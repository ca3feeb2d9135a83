"""The `vla-ros` command: sub-commands are found, errors are one line, `--json` ends with one object."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

import pytest

from vla_ros.cli import demo, doctor
from vla_ros.cli.main import COMMANDS, main

CLI = Path(demo.__file__).parent


def test_every_file_is_a_sub_command_or_a_part_of_one_and_every_sub_command_a_file() -> None:
    files = {path.stem for path in CLI.glob("*.py")} - {"__init__", "main"}
    assert files >= set(COMMANDS)
    assert {file.partition("_")[0] for file in files} == set(COMMANDS), "a part of `bench` is called bench_SOMETHING"


@pytest.mark.parametrize("name", COMMANDS)
def test_sub_commands_declare_their_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0 and f"usage: vla-ros {name}" in capsys.readouterr().out
    assert callable(importlib.import_module(f"vla_ros.cli.{name}").run)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tran"], "unknown sub-command 'tran'; did you mean 'train'?"),
        (["launch", "nothing"], "nothing: no such launch file"),
        (["launch", "demo", "seed=3"], "launch argument must be key:=value, got 'seed=3'"),
        (["launch", "demo", "--own", "sed:=3"], "unknown argument 'sed'; did you mean 'seed'?"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("vla-ros: error: ") and message in error and error.count("\n") == 1


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), ([], 2)])
def test_help_lists_every_sub_command(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == code
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)


def test_demo_options_become_launch_arguments() -> None:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    given = parser.parse_args(["--instruction", "push the red block to the left", "--seed", "3", "--time-limit", "4"])
    assert demo.launch_words(given) == [
        "instruction:=push the red block to the left",
        "seed:=3",
        "time_limit_s:=4.0",
        "out:=out/demo",
    ]
    assert demo.launch_words(parser.parse_args([])) == ["out:=out/demo"]


def test_doctor_prints_one_object_last(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", doctor.CHECKS[:4])
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [finding["name"] for finding in found["findings"]] == ["python", "ros", "dds", "torch"]
    assert code == (0 if found["ok"] else 1)


def test_doctor_says_what_fails_and_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(doctor.PROFILES[0], "/nowhere/profile.xml")
    monkeypatch.setattr(doctor, "CHECKS", (doctor.CHECKS[2],))
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "FAIL dds" in shown and "/nowhere/profile.xml" in shown and f"unset {doctor.PROFILES[0]}" in shown


def test_a_check_that_ends_its_process_is_a_finding() -> None:
    finding = doctor._script("torch", "import os; os.abort()", "reinstall")
    assert not finding.ok and finding.advice == "reinstall" and finding.detail
