"""Write docs/reference from the code: `python scripts/generate_reference.py`; `--check` fails if it is not current.

Parameters, YAML keys and options come from the dataclasses and parsers that read them; topics and services from nodes
that are really made and configured, on a ROS domain of their own.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib
import inspect
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

os.environ |= {"COLUMNS": "100", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "NO_COLOR": "1"}
OUT = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE = "<!-- Written by scripts/generate_reference.py; do not edit. -->\n"
NODES = {
    "policy": "PolicyNode", "commander": "CommanderNode", "world_model": "WorldModelNode",
    "scene_question": "SceneQuestionNode", "dashboard": "", "recorder": "", "replay": "", "sim": "", "demo": "",
}  # fmt: skip
MODELS = {"scene_question": "vla_tabletop"}
COMMON = re.compile(
    r"^/(parameter_events|rosout|clock)$|/(describe_parameters|get_parameter\w*|list_parameters|set_parameters\w*"
    r"|change_state|get_available_states|get_available_transitions|get_state|get_transition_graph|transition_event"
    r"|get_type_description)$"
)


def main() -> int:
    """Write the pages, or compare them with what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is not current")
    check = parser.parse_args().check
    pages = {"robot_yaml.md": robot_yaml(), "model_folder.md": model_folder(), "cli.md": cli(), "nodes.md": nodes()}
    stale = [name for name, text in pages.items() if not (OUT / name).is_file() or (OUT / name).read_text() != text]
    for name in stale:
        if check:
            old = (OUT / name).read_text() if (OUT / name).is_file() else ""
            new = pages[name].splitlines(True)
            sys.stderr.writelines(difflib.unified_diff(old.splitlines(True), new, f"docs/reference/{name}", "code"))
        else:
            (OUT / name).write_text(pages[name])
    print(f"{len(pages)} pages, {len(stale)} {'not current' if check else 'written'}")
    return 1 if check and stale else 0


def robot_yaml() -> str:
    """Every key of a robot's YAML."""
    from vla_ros.core.robot import RobotSpec

    return f"{NOTE}# Robot YAML\n\nOne strict file per robot in `config/robots`.\n\n" + "\n".join(tables(RobotSpec))


def model_folder() -> str:
    """Every key of a model folder's config.yaml."""
    from vla_ros.policies.uwm import UWMFolder
    from vla_ros.policies.vla import VLAFolder
    from vla_ros.policies.vlm import VLMFolder

    parts = [f"## kind: {kind}\n\n" + "\n".join(tables(folder, level=3, deep=("contract", "cameras")))
             for kind, folder in (("uwm", UWMFolder), ("vla", VLAFolder), ("vlm", VLMFolder))]  # fmt: skip
    return f"{NOTE}# Model folder\n\nA folder with `config.yaml`, weights and statistics.\n\n" + "\n".join(parts)


def tables(kind: Any, level: int = 2, deep: tuple[str, ...] = (), title: str = "") -> Iterator[str]:
    """Yield one table for a dataclass, then one for each dataclass below it."""
    hints, about = get_type_hints(kind), descriptions(kind)
    summary = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")
    yield f"{'#' * level} {title or kind.__name__}\n\n{summary}\n\n| key | type | default | |\n|---|---|---|---|"
    below: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        name, inner = field.name, dataclasses_in(hints[field.name])
        below |= {f"{title}{'.' if title else ''}{name}": one for one in inner if not deep or name in deep}
        words = "block below" if inner else ""
        yield f"| `{name}` | {type_name(hints[name])} | {default(field)} | {about.get(name, words)} |"
    yield ""
    for name, one in below.items():
        yield from tables(one, level + 1 if level < 4 else level, deep, name)


def descriptions(kind: Any) -> dict[str, str]:
    """Field -> what the docstring says: paragraphs that begin with `name:` or `a, b:`."""
    found: dict[str, str] = {}
    for line in (inspect.getdoc(kind) or "").split("\n"):
        match = re.match(r"^((?:\w+, )*\w+): (.+)$", line)
        if match:
            names = match[1].split(", ")
            found |= dict.fromkeys(names, match[2])
        elif line.startswith("    ") and found:
            last = found[names[-1]]
            found |= dict.fromkeys(names, f"{last} {line.strip()}")
    return {name: text.replace("|", "\\|") for name, text in found.items()}


def dataclasses_in(hint: Any) -> list[Any]:
    """Return the dataclasses that a type holds."""
    if dataclasses.is_dataclass(hint):
        return [hint]
    return [one for part in get_args(hint) for one in dataclasses_in(part)]


def type_name(hint: Any) -> str:
    """Return a type as a reader of YAML would name it."""
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(type_name(part) for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        return f"list of {type_name(parts[0])}" if parts[-1] is Ellipsis or len(set(parts)) == 1 else "list"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
    return names.get(hint, "block" if dataclasses.is_dataclass(hint) else "mapping")


def default(field: dataclasses.Field[Any]) -> str:
    """Return a field's default, or that there is none."""
    if field.default is not dataclasses.MISSING:
        return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"
    return "required" if field.default_factory is dataclasses.MISSING else ""


def cli() -> str:
    """The help of every sub-command."""
    from vla_ros.cli import main as entry

    parts = [f"{NOTE}# Command line\n"]
    for name in entry.COMMANDS:
        parser = entry._parser(name, importlib.import_module(f"vla_ros.cli.{name}"))
        parts.append(f"## vla-ros {name}\n\n```text\n{parser.format_help().rstrip()}\n```\n")
    return "\n".join(parts)


def nodes() -> str:
    """Parameters, topics and services of every node."""
    parts = [f"{NOTE}# Nodes\n\nTopic names are those of the robot `ur5e_tabletop`. Every node also publishes"
             " `/diagnostics`.\n"]  # fmt: skip
    for name, made in NODES.items():
        module = importlib.import_module(f"vla_ros.nodes.{name}")
        summary = (module.__doc__ or "").strip().splitlines()[0]
        parts.append(f"## {name}\n\n{summary}\n\n{parameters(module.Parameters)}")
        if made:
            parts.append(topics(getattr(module, made), name))
    return "\n".join(parts)


def parameters(kind: Any) -> str:
    """A table of a node's parameters."""
    rows = ["| parameter | default | |", "|---|---|---|"]
    for field in dataclasses.fields(kind):
        value = str(field.default).lower() if isinstance(field.default, bool) else field.default
        bounds = "" if field.metadata["low"] is None else f" ({field.metadata['low']} to {field.metadata['high']})"
        rows.append(f"| `{field.name}` | `{value}` | {field.metadata['description']}{bounds} |")
    return "\n".join(rows) + "\n"


def topics(kind: Any, name: str) -> str:
    """A table of what a configured and active node publishes, hears and serves."""
    import rclpy
    from rclpy.parameter import Parameter

    rclpy.init(domain_id=1 + os.getpid() % 101, args=["--ros-args", "-p", f"model:={MODELS.get(name, 'uwm_tabletop')}"])
    node = kind()
    try:
        node.configure()
        node.activate()
        time.sleep(0.5)
        rows = ["| | name | type |", "|---|---|---|"]
        for word, of in (("publishes", "publisher"), ("hears", "subscriber"), ("serves", "service")):
            found = getattr(node, f"get_{of}_names_and_types_by_node")(node.get_name(), node.get_namespace())
            rows += [f"| {word} | `{topic}` | {', '.join(types)} |" for topic, types in sorted(found)
                     if not COMMON.search(topic) and topic != "/diagnostics"]  # fmt: skip
    finally:
        node.deactivate()
        node.destroy_node()
        rclpy.try_shutdown()
    assert Parameter  # rclpy's own parameters are left out
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
