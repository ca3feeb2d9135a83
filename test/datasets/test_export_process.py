"""`vla-ros export` as a process: how it ends, and that nothing is left of what did not succeed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bag_files import steady, write_bag
from std_msgs.msg import Int32

from vla_ros.core.paths import share_folder
from vla_ros.core.robot import load_robot

ROBOT = load_robot("ur5e_tabletop")
START = 10**18


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "bag", steady(ROBOT, 3))


def start(*words: object, limit_bytes: int = 0) -> subprocess.Popen[str]:
    code = "import sys; from vla_ros.cli.main import main; sys.exit(main())"
    if limit_bytes:
        code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes})); {code}"
    return subprocess.Popen(
        [sys.executable, "-c", code, "export", *map(str, words)],
        text=True,
        cwd=share_folder(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    said, wrong = process.communicate(timeout=120)
    return process.returncode, said, wrong


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(bag: Path, tmp_path: Path, number: signal.Signals) -> None:
    many = [bag] * 400  # more than is written in the test
    process = start(*many, "--out", tmp_path / "set")
    while not list(tmp_path.glob(".set.*/data/*/*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    code, _, wrong = ended(process)
    assert code == 128 + number and "Traceback" not in wrong
    assert f"ended by {number.name}; nothing was written" in wrong
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [[], ["--lossless"]], ids=["video", "lossless"])
def test_a_full_disk_is_one_line_and_leaves_nothing(bag: Path, tmp_path: Path, words: list[str]) -> None:
    code, _, wrong = ended(start(bag, "--out", tmp_path / "set", *words, limit_bytes=3_000))
    assert code == 2, wrong
    assert len(wrong.splitlines()) == 1 and "cannot be written: " in wrong and "File too large" in wrong, wrong
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["file/set", "file/deeper/set", "/proc/set", "x" * 300])
def test_a_target_that_cannot_be_is_one_line(bag: Path, tmp_path: Path, out: str) -> None:
    from vla_ros.bags.episodes.assembly import EpisodeOptions
    from vla_ros.core.errors import ConfigError
    from vla_ros.datasets.export import export

    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        export([bag], ROBOT, EpisodeOptions(), "lerobot", tmp_path / out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_reason_comes_first_for_every_bag(bag: Path, tmp_path: Path) -> None:
    silent = [m for m in steady(ROBOT, 2) if m[1] != ROBOT.command.topic]
    bad = write_bag(tmp_path / "silent", silent)
    code, said, wrong = ended(start(bad, bag, bad, "--out", tmp_path / "set"))
    assert code == 0, wrong
    lines = said.splitlines()
    assert [line.startswith(f"{bad}: no episode: no command on") for line in lines[:3]] == [True, True, False]
    assert "1 episodes, 29 frames" in lines[2]
    code, said, wrong = ended(start(bad, bad, "--out", tmp_path / "other"))
    assert code == 2 and said == ""
    assert wrong.count(f"{bad}: no episode: no command on /joint_commands") == 2
    assert wrong.splitlines()[-1] == "no episode in any bag; nothing was written"
    assert not (tmp_path / "other").exists()


def test_every_bag_is_looked_at_before_any_is_exported(bag: Path, tmp_path: Path) -> None:
    foreign = write_bag(tmp_path / "foreign", [m for m in steady(ROBOT, 1) if m[1] != ROBOT.joint_states_topic])
    for last, why in ((tmp_path / "nothing", "no such bag"), (foreign, "lacks /joint_states")):
        process = start(*[bag] * 20, last, "--out", tmp_path / "set")
        begun = set[str]()
        while process.poll() is None:
            begun |= {path.name for path in tmp_path.glob(".set.*")}
            time.sleep(0.005)
        code, _, wrong = ended(process)
        assert not begun and code == 2 and why in wrong
        assert [path.name for path in tmp_path.iterdir()] == ["foreign"]


def test_figures_of_every_bag_are_in_the_json(bag: Path, tmp_path: Path) -> None:
    foreign = write_bag(tmp_path / "foreign", [*steady(ROBOT, 2), (START, "/episode", Int32())])
    code, _, wrong = ended(start(bag, foreign, "--out", tmp_path / "set"))
    assert code == 2 and "Traceback" not in wrong and "--split none" in wrong
    words = ("--split", "none", "--json", "--bridge", "0", "--fps", "10")
    code, said, wrong = ended(start(bag, foreign, "--out", tmp_path / "set", *words))
    assert code == 0, wrong
    told: dict[str, Any] = json.loads(said)
    assert [(one["episodes"], one["frames"], one["reason"]) for one in told["bags"]] == [(1, 29, ""), (1, 19, "")]


@pytest.mark.parametrize("words", [["--fps", "10", "--step", "0.1"], ["--task", "x", "--task-from-name"]])
def test_what_excludes_each_other_is_refused(bag: Path, tmp_path: Path, words: list[str]) -> None:
    code, _, wrong = ended(start(bag, "--out", tmp_path / "set", *words))
    assert code == 2 and "not allowed with" in wrong


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--bridge", "-1"], "bridge must be >= 0 ticks, got -1"),
        (["--step", "0"], "step must be > 0 s, got 0"),
        (["--fps", "12.5"], "fps must be a whole number, got 12.5"),
        (["--task", "a\nb"], "control characters"),
        (["--remap", "joint_states"], "must be CONTRACT_TOPIC:=TOPIC_ON_THE_BAG"),
    ],
)
def test_what_makes_no_sense_is_one_line(bag: Path, tmp_path: Path, words: list[str], why: str) -> None:
    code, _, wrong = ended(start(bag, "--out", tmp_path / "set", *words))
    assert code == 2 and why in wrong and len(wrong.splitlines()) == 1, wrong
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step_s", [0.033333, 0.0333, 1 / 30])
def test_a_rounded_step_is_the_rate_that_was_meant(tmp_path: Path, step_s: float) -> None:
    from dataclasses import replace

    from vla_ros.bags.episodes.assembly import EpisodeOptions
    from vla_ros.datasets.export import export

    robot = replace(ROBOT, cameras=tuple(replace(camera, rate_hz=30.0) for camera in ROBOT.cameras))
    fast = write_bag(tmp_path / "bag", steady(robot, 4))
    figures, _ = export(
        [fast], robot, EpisodeOptions(step_s=step_s, bridge=0), "lerobot", tmp_path / "set", lossless=True
    )
    assert json.loads((tmp_path / "set/meta/info.json").read_text())["fps"] == 30
    assert figures["episodes"] == 1 and figures["frames"] >= 118
    times = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet")["timestamp"].to_pylist()
    assert times == pytest.approx([k / 30 for k in range(len(times))], abs=1e-5)
