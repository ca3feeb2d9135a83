"""The rooms of docs/explanation/architecture.md and who may enter them, held by reading every import statement."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "vla_ros"
SOURCE = Path(__file__).resolve().parents[1] / PACKAGE
MESSAGES = {
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "lifecycle_msgs",
    "rcl_interfaces",
    "rosgraph_msgs",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "trajectory_msgs",
}
ROS = {"rclpy", "ament_index_python"} | MESSAGES
TORCH = {"torch", "einops", "transformers", "diffusers", "safetensors", "accelerate"}
HOUSE = (
    "core",
    "networks",
    "policies",
    "media",
    "sim",
    "bags",
    "datasets",
    "evaluation",
    "training",
    "bench",
    "monitor",
    "ros",
    "nodes",
    "launcher",
    "cli",
)


@dataclass(frozen=True)
class Room:
    """What a room may import beside the standard library and itself."""

    ours: tuple[str, ...] = ()
    theirs: frozenset[str] = frozenset()
    itself: bool = True


def room(ours: str = "", theirs: set[str] | None = None, itself: bool = True) -> Room:
    return Room(tuple(ours.split()), frozenset(theirs or set()), itself)


ROOMS = {
    "(root)": room("core policies evaluation sim"),  # the public API, imported when it is first used
    "core": room("", {"numpy", "yaml", "ruckig", "cv2"}),
    "networks": room("", TORCH | {"numpy", "triton"}),
    "policies": room("core networks", TORCH | {"numpy", "yaml"}),
    "media": room("core.errors", {"numpy", "PIL", "av"}),
    "sim": room("core", {"numpy", "yaml", "mujoco", "OpenGL", "PIL"}),
    "bags": room(
        "core ros.convert ros.images ros.ingest ros.message_types",
        {"numpy", "yaml", "rosbags", "mcap", "lz4", "backports", "compression", "PIL", "ament_index_python"} | MESSAGES,
    ),
    "datasets": room(
        "core networks.uwm.text policies sim bags media", TORCH | {"numpy", "yaml", "rich", "pyarrow", "av", "PIL"}
    ),
    "evaluation": room(
        "core networks policies sim bags datasets media ros.convert ros.ingest",
        TORCH | {"numpy", "yaml", "rich", "skimage", "PIL"},
    ),
    "training": room(
        "core networks policies sim datasets evaluation media",
        TORCH | {"numpy", "yaml", "rich", "tqdm", "tensorboard", "PIL", "pyarrow", "peft"},
    ),
    "monitor": room("core media", {"numpy", "yaml", "rich", "PIL", "aiohttp"}),
    "ros": room("core", {"numpy", "PIL", "cv2"} | ROS),
    "nodes": room(
        "core networks policies media sim bags datasets monitor ros launcher", {"numpy", "aiohttp"} | ROS, False
    ),
    "launcher": room("core", {"yaml"}),
    "bench": room(
        " ".join(name for name in HOUSE if name not in ("bench", "cli")),
        TORCH | ROS | {"numpy", "rich", "yaml", "aiohttp", "cv2"},
    ),
    "cli": room(" ".join(HOUSE), TORCH | ROS | {"numpy", "yaml", "rich", "mujoco", "PIL"}),
}
# Wings: parts of a room that must not know each other.
WINGS = {
    "core.execution": "core.surprise core.planning core.streams",
    "core.streams": "core.execution core.surprise core.planning",
    "core.surprise": "core.execution core.planning",
    "core.description": "core.execution core.surprise core.planning core.streams",
    "core.kinematics": "core.execution core.surprise core.planning core.streams core.description",
    "training.uwm": "training.vla training.vlm training.pretrained",
    "training.vla": "training.pretrained",
    "training.vlm": "training.pretrained",
}
# The parts of a room's own law that are narrower than the room: core reads YAML, and calls Ruckig and OpenCV, in one
# file each; bags asks where a message package is installed only for its definitions; peft is needed for adapters alone.
ONLY_HERE = {
    ("core", "yaml"): {"config.py"},
    ("core", "ruckig"): {"tracking.py"},
    ("core", "cv2"): {"image_fit.py"},
    ("bags", "ament_index_python"): {"definitions.py"},
    ("training", "peft"): {"lora.py"},
}
CLI_MAX_LINES = 170
MAX_FILES = 20  # of one folder


def imports(path: Path, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of every import of a file, also inside functions; relative ones resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}" if module == PACKAGE or not node.module else module
                if module.count(".") == 1 and module.startswith(f"{PACKAGE}."):
                    yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Call) and _is_import_call(node):
            yield node.lineno, str(getattr(node.args[0], "value", ""))


def _is_import_call(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    literal = bool(call.args) and isinstance(call.args[0], ast.Constant)
    return name in ("import_module", "__import__") and literal


def allowed(module: str, name: str, law: Room) -> bool:
    """Whether a file of room `name` may import `module`."""
    top, _, rest = module.partition(".")
    if top != PACKAGE:
        return top in sys.stdlib_module_names or top in law.theirs
    if not rest:
        return True
    if rest.split(".")[0] == name:
        return law.itself
    parents = {rest.rsplit(".", cut)[0] for cut in range(rest.count(".") + 1)}
    narrow = {part.partition(".")[0] for part in law.ours if "." in part}
    return bool(parents & set(law.ours)) or rest in narrow


def violations(source: Path) -> list[str]:
    """Every import below `source` that its room forbids, as `file:line: ...`."""
    found = []
    for path in sorted(source.rglob("*.py")):
        relative = path.relative_to(source)
        name = relative.parts[0]
        if len(relative.parts) == 1:
            name = "(root)"
        elif name not in ROOMS:
            found.append(f"{relative}: room '{name}' is not in the table")
            continue
        law = ROOMS.get(name, Room())
        package = ".".join([PACKAGE, *relative.parts[:-1]])
        for line, module in imports(path, package):
            only = ONLY_HERE.get((name, module.split(".")[0]))
            if not allowed(module, name, law) or (only and relative.name not in only):
                found.append(f"{relative}:{line}: {name} may not import {module}")
    return found


def test_every_import_is_one_that_its_room_allows() -> None:
    assert violations(SOURCE) == []


def wing_violations(source: Path) -> list[str]:
    """Every import below `source` by which a wing knows one that it must not know."""
    found = []
    for wing, forbidden in WINGS.items():
        for path in sorted(source.joinpath(*wing.split(".")).rglob("*.py")):
            package = ".".join([PACKAGE, *path.relative_to(source).parts[:-1]])
            for line, module in imports(path, package):
                if any(f"{module}.".startswith(f"{PACKAGE}.{other}.") for other in forbidden.split()):
                    found.append(f"{path.relative_to(source)}:{line}: {wing} may not import {module}")
    return found


def modules(source: Path) -> dict[str, Path]:
    """Dotted name -> file of every module below `source`."""
    return {
        ".".join([PACKAGE, *path.relative_to(source).with_suffix("").parts]).removesuffix(".__init__"): path
        for path in source.rglob("*.py")
    }


def cycle(source: Path) -> list[str]:
    """One import cycle below `source`, as the modules on it; imports under TYPE_CHECKING count, too."""
    known = modules(source)
    graph = {}
    for name, path in known.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        targets = {module for _, module in imports(path, package) if module in known} - {name}
        # `import a.b` also runs a/__init__.py, which imports nothing here
        graph[name] = {target for target in targets if known[target].name != "__init__.py"}
    state: dict[str, int] = {}

    def visit(name: str, way: list[str]) -> list[str]:
        if state.get(name) == 1:
            return way[way.index(name) :]
        if state.get(name) == 2:
            return []
        state[name] = 1
        for target in sorted(graph[name]):
            if found := visit(target, [*way, target]):
                return found
        state[name] = 2
        return []

    for name in sorted(graph):
        if found := visit(name, [name]):
            return found
    return []


def test_no_wing_knows_one_that_it_must_not_know() -> None:
    assert wing_violations(SOURCE) == []


def test_there_is_no_import_cycle() -> None:
    assert cycle(SOURCE) == []


def test_no_folder_is_crowded() -> None:
    folders = {path for path in SOURCE.rglob("*") if path.is_dir() and path.name != "__pycache__"}
    crowded = {str(f.relative_to(SOURCE)): n for f in folders if (n := len(list(f.glob("*.py")))) > MAX_FILES}
    assert crowded == {}


def test_every_room_says_what_it_is() -> None:
    for name in set(ROOMS) - {"(root)"}:
        if list((SOURCE / name).glob("*.py")):
            tree = ast.parse((SOURCE / name / "__init__.py").read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), f"vla_ros/{name}/__init__.py has no docstring"


def test_sub_commands_stay_thin() -> None:
    for path in (SOURCE / "cli").glob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= CLI_MAX_LINES, f"{path.name} has {lines} lines; logic belongs into a room"


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("core/bad.py", "import torch", "core may not import torch"),
        ("core/bad.py", "def f():\n    import rclpy", "core may not import rclpy"),
        ("core/bad.py", "import yaml", "core may not import yaml"),
        ("core/bad.py", "import ruckig", "core may not import ruckig"),
        ("core/bad.py", "from vla_ros.sim import tabletop", "core may not import vla_ros.sim"),
        ("core/bad.py", "from vla_ros import sim", "core may not import vla_ros.sim"),
        ("core/bad.py", "from ..policies import loading", "core may not import vla_ros.policies"),
        ("core/bad.py", "from .. import policies", "core may not import vla_ros.policies"),
        ("core/bad.py", "import importlib\nimportlib.import_module('torch')", "core may not import torch"),
        ("networks/bad.py", "from vla_ros.core.types import Observation", "networks may not import vla_ros.core"),
        ("networks/bad.py", "import yaml", "networks may not import yaml"),
        ("policies/bad.py", "import rclpy", "policies may not import rclpy"),
        ("policies/bad.py", "from vla_ros.sim.tabletop.world import Tabletop", "policies may not import vla_ros.sim"),
        ("nodes/bad.py", "from vla_ros.nodes.policy import main", "nodes may not import vla_ros.nodes"),
        ("nodes/bad.py", "from vla_ros.training import loop", "nodes may not import vla_ros.training"),
        ("nodes/bad.py", "import torch", "nodes may not import torch"),
        ("ros/bad.py", "import torch", "ros may not import torch"),
        ("monitor/bad.py", "import rclpy", "monitor may not import rclpy"),
        ("sim/bad.py", "from vla_ros.policies import loading", "sim may not import vla_ros.policies"),
        ("media/bad.py", "import torch", "media may not import torch"),
        ("datasets/bad.py", "from vla_ros.training import loop", "datasets may not import vla_ros.training"),
        ("datasets/bad.py", "from vla_ros.ros.ingest import Ingest", "datasets may not import vla_ros.ros.ingest"),
        ("evaluation/bad.py", "from vla_ros.training import loop", "evaluation may not import vla_ros.training"),
        ("training/bad.py", "from vla_ros.bags.reader import open_bag", "training may not import vla_ros.bags.reader"),
        ("bench/bad.py", "from vla_ros.cli.main import main", "bench may not import vla_ros.cli.main"),
        ("nodes/bad.py", "from vla_ros.evaluation import modes", "nodes may not import vla_ros.evaluation"),
        ("nodes/bad.py", "from vla_ros.bench import graph", "nodes may not import vla_ros.bench"),
        ("bags/bad.py", "from vla_ros.datasets import export", "bags may not import vla_ros.datasets"),
        ("bags/bad.py", "from vla_ros.ros.qos import SENSOR", "bags may not import vla_ros.ros.qos"),
        ("launcher/bad.py", "import numpy", "launcher may not import numpy"),
        ("attic/bad.py", "", "room 'attic' is not in the table"),
        ("bad.py", "from vla_ros.ros import qos", "(root) may not import vla_ros.ros"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, line: str, message: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line + "\n", encoding="utf-8")
    assert any(message in found for found in violations(tmp_path)), violations(tmp_path)


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("core/execution/bad.py", "from vla_ros.core.surprise.score import Surprise", "core.execution may not import"),
        ("core/execution/bad.py", "from vla_ros.core import surprise", "core.execution may not import"),
        ("core/streams/bad.py", "from ..planning import planner", "core.streams may not import"),
        ("training/vla/bad.py", "from vla_ros.training.pretrained import config", "training.vla may not import"),
    ],
)
def test_a_planted_violation_of_a_wing_is_found(tmp_path: Path, file: str, line: str, message: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line + "\n", encoding="utf-8")
    assert any(message in found for found in wing_violations(tmp_path)), wing_violations(tmp_path)


def test_a_planted_cycle_is_found(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "a.py").write_text("from vla_ros.core import b\n")
    (tmp_path / "core" / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from vla_ros.core.a import x\n"
    )
    assert sorted(set(cycle(tmp_path))) == ["vla_ros.core.a", "vla_ros.core.b"]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("core/good.py", "import numpy as np\nfrom vla_ros.core.types import Observation\nfrom . import errors"),
        ("core/config.py", "import yaml"),
        ("bags/good.py", "from vla_ros.ros.convert import to_image\nfrom vla_ros.ros import convert"),
        (
            "nodes/good.py",
            "import rclpy\nfrom vla_ros.core.robot import load_robot\nfrom vla_ros.policies import uwm",
        ),
        ("cli/good.py", "def run(args):\n    from vla_ros.training.loop import train"),
    ],
)
def test_what_the_table_allows_passes(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line + "\n", encoding="utf-8")
    assert violations(tmp_path) == []
