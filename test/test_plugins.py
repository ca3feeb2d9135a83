"""A policy, an environment and a dataset format of another installed package are found by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENTRY_POINTS = """\
[vla_ros.policies]
slider = sliding_things.policy
torn = sliding_things.nothing_here
uwm = sliding_things.policy
[vla_ros.environments]
rail = sliding_things.environment:Rail
[vla_ros.dataset_formats]
lines = sliding_things.lines
"""
POLICY = """\
import numpy as np
import yaml

import vla_ros


class Slider:
    '''Plans from the present position to the place that the model folder names.'''

    def __init__(self, folder):
        self.place = yaml.safe_load((folder / "config.yaml").read_text())["place"]
        self.contract = vla_ros.PolicyContract(
            (vla_ros.CameraContract("side", 8, 6),), ("carriage",), step_s=0.1, horizon=5, execute_steps=5
        )

    def reset(self):
        pass

    def infer(self, observation):
        assert observation.images["side"].shape == (1, 6, 8, 3) and observation.instruction == "slide"
        actions = np.linspace(observation.state[-1], [self.place], 6, dtype=np.float32)[1:]
        now_ns, step_ns = observation.stamp_ns, self.contract.step_ns
        return vla_ros.ActionChunk(now_ns, now_ns + step_ns, step_ns, actions, self.contract.joints)


def load(folder, device):
    return Slider(folder)
"""
ENVIRONMENT = """\
import numpy as np

from vla_ros.sim.environment import Trial


class Rail:
    '''A carriage on a rail, which should get beyond 0.9 m; it is where it was told to be.'''

    control_ns = 20_000_000

    def __init__(self):
        self.place = np.zeros(1)

    def trial(self, seed, variant):
        return Trial(seed, "slide", "move", "slide")

    def reset(self, trial):
        self.place = np.zeros(1)

    def joint_positions(self):
        return self.place.copy()

    def render(self, camera, width, height):
        return np.zeros((height, width, 3), np.uint8)

    def act(self, command):
        self.place = np.array(command, dtype=np.float64)

    def step(self):
        pass

    def success(self):
        return bool(self.place[0] > 0.9)

    def close(self):
        print("the rail is closed")
"""
LINES = """\
class Lines:
    '''Writes one line of text per frame.'''

    def __init__(self, out):
        self.out, self.lines = out, []

    def add(self, frame):
        self.lines.append(frame)

    def close(self):
        self.out.write_text("\\n".join(self.lines))
        return {"lines": len(self.lines)}

    def abandon(self):
        pass


def open_writer(out, layout):
    return Lines(out)
"""
MODULES = {"__init__": "", "policy": POLICY, "environment": ENVIRONMENT, "lines": LINES}
WRITE = """\
import sys
from pathlib import Path
from vla_ros.core.errors import ConfigError
from vla_ros.datasets.formats import Layout, known_formats, open_writer

print(*known_formats())
layout = Layout("rail", 10, {}, ())
writer = open_writer("lines", Path(sys.argv[1]), layout)
writer.add("a frame")
print(writer.close())
for name, out in (("lines", sys.argv[1]), ("line", "new")):
    try:
        open_writer(name, Path(out), layout)
    except ConfigError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package `sliding_things`, as an installer leaves it."""
    folder = tmp_path_factory.mktemp("site")
    for name, text in MODULES.items():
        path = folder / "sliding_things" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    info = folder / "sliding_things-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sliding-things\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def run(site: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])}
    return subprocess.run(
        [sys.executable, *map(str, words)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def model(folder: Path, kind: str) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text(f"kind: {kind}\nplace: 1.0\n")
    return folder


def test_a_foreign_policy_is_loaded(site: Path, tmp_path: Path) -> None:
    code = "import sys, vla_ros; print(type(vla_ros.load_policy(sys.argv[1])))"
    done = run(site, "-c", code, model(tmp_path / "slider", "slider"))
    assert done.stdout == "<class 'sliding_things.policy.Slider'>\n", done.stderr


def test_an_episode_runs_in_a_foreign_environment(site: Path, tmp_path: Path) -> None:
    words = ["eval", model(tmp_path / "slider", "slider"), "--environment", "rail", "--episodes", 1, "--json"]
    done = run(site, "-m", "vla_ros.cli.main", *words)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["success_rate"] == 1.0 and list(figures["by_task"]) == ["slide"]
    assert 0.4 < figures["seconds_to_success_p50"] <= 0.5  # five steps of 0.1 s from 0 to 1 m
    assert "the rail is closed" in done.stdout


def test_a_foreign_format_is_listed_and_opened(site: Path, tmp_path: Path) -> None:
    out = tmp_path / "lines.txt"
    done = run(site, "-c", WRITE, out)
    known, figures, taken, unknown = done.stdout.splitlines()
    assert known == "lerobot lines" and figures == "{'lines': 1}" and out.read_text() == "a frame"
    assert taken == f"{out}: exists already; name a new folder"
    assert unknown.startswith("--format 'line' is not known; did you mean 'lines'?")


def test_a_package_cannot_replace_a_kind_of_ours(site: Path, tmp_path: Path) -> None:
    done = run(site, "-c", "import sys, vla_ros; vla_ros.load_policy(sys.argv[1])", model(tmp_path / "fake", "uwm"))
    assert done.returncode == 1 and "Error: " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("slidr", "kind 'slidr' is not known; did you mean 'slider'?"),
        ("torn", "kind 'torn' of sliding-things cannot be loaded: No module named 'sliding_things.nothing_here'"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(site: Path, tmp_path: Path, kind: str, why: str) -> None:
    folder = model(tmp_path / kind, kind)
    done = run(site, "-m", "vla_ros.cli.main", "eval", folder, "--environment", "rail", "--episodes", 1)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert f"{folder}/config.yaml: {why}" in done.stderr


def test_an_unknown_environment_is_named(site: Path, tmp_path: Path) -> None:
    folder = model(tmp_path / "slider", "slider")
    done = run(site, "-m", "vla_ros.cli.main", "eval", folder, "--environment", "rial", "--episodes", 1)
    assert done.returncode == 2 and "'rial' is not known; did you mean 'rail'?" in done.stderr
