"""Write docs/reference from the code: `python scripts/generate_reference.py`; `--check` fails if a page is not current.

Parameters, YAML keys and options come from the dataclasses and parsers that read them; topics and services from nodes
that are really made and configured, on a ROS domain of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import importlib
import inspect
import io
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

os.environ |= {"COLUMNS": "100", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "NO_COLOR": "1"}
OUT = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE = "<!-- Written by scripts/generate_reference.py; do not edit. -->\n"
NODES = {
    "policy": "PolicyNode",
    "commander": "CommanderNode",
    "world_model": "WorldModelNode",
    "scene_question": "SceneQuestionNode",
    "dashboard": "",
    "recorder": "",
    "replay": "",
    "sim": "",
    "demo": "",
}
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
    pages = {
        "robot_yaml.md": robot_yaml(),
        "model_folder.md": model_folder(),
        "launch_files.md": launch_files(),
        "python_api.md": python_api(),
        "cli.md": cli(),
        "nodes.md": nodes(),
    }
    stale = [name for name, text in pages.items() if not (OUT / name).is_file() or (OUT / name).read_text() != text]
    for name in stale:
        if check:
            old = (OUT / name).read_text() if (OUT / name).is_file() else ""
            lines = (text.splitlines(keepends=True) for text in (old, pages[name]))
            sys.stderr.writelines(difflib.unified_diff(*lines, f"docs/reference/{name}", "the code"))
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

    parts = [
        f"## kind: {kind}\n\n" + "\n".join(tables(folder, level=3, deep=("contract", "cameras")))
        for kind, folder in (("uwm", UWMFolder), ("vla", VLAFolder), ("vlm", VLMFolder))
    ]
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
        missing = isinstance(field.default, float) and math.isnan(field.default)  # refused after reading
        return "required" if missing else "none" if field.default is None else shown(field.default)
    return "required" if field.default_factory is dataclasses.MISSING else ""


def cli() -> str:
    """Return the arguments of every sub-command; not the help text itself, which differs between Python versions."""
    from vla_ros.cli import main as entry

    parts = [f"{NOTE}# Command line\n\n`vla-ros COMMAND --help` says the same.\n"]
    for name in entry.COMMANDS:
        parser = entry._parser(name, importlib.import_module(f"vla_ros.cli.{name}"))
        parts += command(parser, f"vla-ros {name}", 2)
    return "\n".join(parts)


def command(parser: argparse.ArgumentParser, title: str, level: int) -> Iterator[str]:
    """Yield a section for a parser, and one for each of its sub-parsers."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        parser.parse_known_args(["--help"])  # a benchmark declares its options only now
    yield f"{'#' * level} {title}\n\n{escaped(parser.description).strip()}\n"
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    actions = [action for action in parser._actions if action not in groups and action.dest != "help"]
    if actions:
        yield "| argument | default | |\n|---|---|---|\n" + "\n".join(map(argument, actions)) + "\n"
    for group in groups:
        for name, below in group.choices.items():
            yield from command(below, f"{title} {name}", level + 1)


def argument(action: argparse.Action) -> str:
    """Return the row of one argument of a command."""
    values = "" if action.nargs == 0 else "{" + ",".join(map(str, action.choices)) + "}" if action.choices else None
    value = str(action.metavar or action.dest.upper()) if values is None else values
    words = " ".join(filter(None, [", ".join(action.option_strings), value]))
    no_default = action.default in (None, False, "", argparse.SUPPRESS) or not action.option_strings
    default = "required" if action.required and action.option_strings else "" if no_default else f"`{action.default}`"
    return f"| `{cell(words)}` | {default} | {cell(escaped(action.help))} |"


def escaped(text: str | None) -> str:
    """Return help text as Markdown: a word in capitals between angle brackets would be taken for HTML."""
    return (text or "").replace("%%", "%").replace("<", "&lt;").replace("%(default)s", "the default")


def launch_files() -> str:
    """Return the arguments of every launch file."""
    how = "`vla-ros launch FILE key:=value ...`, or `ros2 launch vla_ros FILE key:=value ...`."
    parts = [f"{NOTE}# Launch files\n\n{how}\n"]
    for path in sorted((OUT.parents[1] / "launch").glob("*.launch.yaml")):
        text = path.read_text(encoding="utf-8")
        rows = ["| argument | default | |", "|---|---|---|"]
        for argument in (entry["arg"] for entry in yaml.safe_load(text)["launch"] if "arg" in entry):
            value = shown(argument["default"]) if "default" in argument else "required"
            rows.append(f"| `{argument['name']}` | {value} | {cell(argument['description'])} |")
        parts.append(f"## {path.name}\n\n{text.splitlines()[0].removeprefix('# ')}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def python_api() -> str:
    """Return the names of the public API, each with the first paragraph of its docstring."""
    import vla_ros

    rows = ["| name | |", "|---|---|"]
    for name in vla_ros.__all__:
        found = getattr(vla_ros, name)
        call = name if inspect.isclass(found) else f"{name}({', '.join(inspect.signature(found).parameters)})"
        rows.append(f"| `{call}` | {cell((inspect.getdoc(found) or '').split(chr(10) * 2)[0])} |")
    about = (
        "`import vla_ros` gives these names; everything else is internal and may change between versions. A name is\n"
        "imported when it is first used. The scripts in `examples/` show them at work."
    )
    return f"{NOTE}# Python API\n\n{about}\n\n" + "\n".join(rows) + "\n"


def shown(value: object) -> str:
    """Return a default as one writes it in YAML."""
    return "empty" if value == "" else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def cell(text: str) -> str:
    """Return text for one cell of a table."""
    return text.replace("\n", " ").replace("|", "\\|")


def nodes() -> str:
    """Parameters, topics and services of every node."""
    parts = [
        f"{NOTE}# Nodes\n\nTopic names are those of the robot `ur5e_tabletop`. Every node also publishes"
        " `/diagnostics`.\n"
    ]
    for name, made in NODES.items():
        module = importlib.import_module(f"vla_ros.nodes.{name}")
        parts.append(
            f"## {name}\n\n{(module.__doc__ or '').strip().splitlines()[0]}\n\n{parameters(module.Parameters)}"
        )
        if made:
            parts.append(topics(getattr(module, made), name))
    return "\n".join(parts)


def parameters(kind: Any) -> str:
    """A table of a node's parameters."""
    rows = ["| parameter | default | |", "|---|---|---|"]
    for field in dataclasses.fields(kind):
        bounds = "" if field.metadata["low"] is None else f" ({field.metadata['low']} to {field.metadata['high']})"
        rows.append(f"| `{field.name}` | {shown(field.default)} | {field.metadata['description']}{bounds} |")
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
            rows += [
                f"| {word} | `{topic}` | {', '.join(types)} |"
                for topic, types in sorted(found)
                if not COMMON.search(topic) and topic != "/diagnostics"
            ]
    finally:
        node.deactivate()
        node.destroy_node()
        rclpy.try_shutdown()
    assert Parameter  # rclpy's own parameters are left out
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
