"""Resolves a launch file and arguments into processes: evaluates conditions, expands text, types values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vla_ros.core.checks import topic
from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.launcher.entities import Arg, Condition, Entity, Include, Let, Node, Param, SetEnv, read_entities
from vla_ros.launcher.executables import executable_command
from vla_ros.launcher.substitutions import Scope, expand

MAX_INCLUDES = 20


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process: its label on the screen, its command line and its whole environment."""

    label: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    shutdown_on_exit: bool
    emulate_tty: bool


@dataclass(slots=True)
class _Evaluation:
    scope: Scope
    processes: list[ProcessSpec] = field(default_factory=list)
    declared: list[Arg] = field(default_factory=list)
    depth: int = 0


def declared_arguments(path: Path) -> tuple[Arg, ...]:
    """Return the arguments that a launch file itself declares."""
    return tuple(entity.action for entity in read_entities(path) if isinstance(entity.action, Arg))


def resolve(path: Path, arguments: Mapping[str, str], environment: Mapping[str, str]) -> tuple[ProcessSpec, ...]:
    """Return the processes that a launch file starts, in order, under `arguments` and `environment`."""
    state = _Evaluation(Scope(dict(arguments), dict(environment)))
    _run_file(path, state)
    names = [arg.name for arg in state.declared]
    for name in arguments:
        if name not in names:
            raise ConfigError(f"{path}: unknown argument '{name}'{did_you_mean(name, names)}")
    return tuple(state.processes)


def _run_file(path: Path, state: _Evaluation) -> None:
    for entity in read_entities(path):
        try:
            if entity.condition is None or _holds(entity.condition, state.scope):
                _run(entity, state)
        except ConfigError as error:
            raise error if ": launch[" in str(error) else ConfigError(f"{entity.where}: {error}") from None


def _run(entity: Entity, state: _Evaluation) -> None:
    match entity.action:
        case Arg() as arg:
            _declare(arg, state)
        case Let(name, value):
            state.scope.variables[name] = expand(value, state.scope)
        case SetEnv(name, value):
            state.scope.environment[expand(name, state.scope)] = expand(value, state.scope)
        case Include() as include:
            _include(include, state)
        case Node() as node:
            state.processes.append(_process(node, state.scope))


def _holds(condition: Condition, scope: Scope) -> bool:
    text = expand(condition.text, scope).strip().lower()
    if text not in ("true", "1", "false", "0"):
        raise ConfigError(f"condition '{condition.text}' must be true, false, 1 or 0, got '{text}'")
    return (text in ("true", "1")) == condition.wanted


def _declare(arg: Arg, state: _Evaluation) -> None:
    state.declared.append(arg)
    if arg.name not in state.scope.variables:
        if arg.default is None:
            raise ConfigError(f"argument '{arg.name}' is required; give {arg.name}:=VALUE")
        state.scope.variables[arg.name] = expand(arg.default, state.scope)
    value = state.scope.variables[arg.name]
    if arg.choices and value not in arg.choices:
        raise ConfigError(f"argument '{arg.name}': unknown choice '{value}'{did_you_mean(value, arg.choices)}")


def _include(include: Include, state: _Evaluation) -> None:
    path = Path(expand(include.file, state.scope))
    if state.depth >= MAX_INCLUDES:
        raise ConfigError(f"{path}: more than {MAX_INCLUDES} files deep; does it include itself?")
    for name, value in include.arguments:
        state.scope.variables[name] = expand(value, state.scope)
    state.depth += 1
    _run_file(path, state)
    state.depth -= 1


def _process(node: Node, scope: Scope) -> ProcessSpec:
    name = expand(node.name, scope) if node.name is not None else None
    executable = expand(node.executable, scope)
    ros: list[str] = ["--ros-args"]
    if name:
        ros += ["-r", f"__node:={name}"]
    if node.namespace is not None:
        ros += ["-r", f"__ns:={_namespace(expand(node.namespace, scope))}"]
    for param in node.params:
        ros += _parameter(param, scope)
    for source, target in node.remaps:
        ros += ["-r", f"{expand(source, scope)}:={expand(target, scope)}"]
    environment = dict(scope.environment)
    environment.update({expand(key, scope): expand(value, scope) for key, value in node.environment})
    return ProcessSpec(
        label=name or executable,
        command=(*executable_command(expand(node.package, scope), executable, scope.environment), *ros),
        environment=environment,
        shutdown_on_exit=node.shutdown_on_exit,
        emulate_tty=node.emulate_tty,
    )


def _namespace(text: str) -> str:
    """Return the absolute namespace; `/` for empty text."""
    name = text.strip("/")
    if name:
        topic(name)  # the same rules
    return f"/{name}"


def _parameter(param: Param, scope: Scope) -> list[str]:
    if param.file is not None:
        path = expand(param.file, scope)
        if not Path(path).is_file():
            raise ConfigError(f"param from '{path}': no such file")
        return ["--params-file", path]
    name = expand(param.name, scope)
    return ["-p", f"{name}:={_as_yaml(name, _value(name, param, scope))}"]


def _value(name: str, param: Param, scope: Scope) -> Any:
    """Return the typed value by launch_ros's rules: text is read as YAML unless `type` says otherwise."""
    value = param.value
    if isinstance(value, list):
        return [expand(item, scope) if isinstance(item, str) else item for item in value]
    if not isinstance(value, str):
        return value
    text = expand(value, scope)
    if param.type == "str":
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    if param.type is not None:
        return _typed(name, text, value, param.type)
    if value is None:
        raise ConfigError(f"parameter '{name}' is empty; give it a value, or 'type: str' for empty text")
    return value


def _typed(name: str, text: str, value: Any, kind: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "int" and isinstance(value, int) and number:
        return value
    if kind == "float" and number:
        return float(value)
    raise ConfigError(f"parameter '{name}': '{text}' is not of type {kind}")


def _as_yaml(name: str, value: Any) -> str:
    """Return a value as rcl's argument parser reads it: JSON is YAML, and its quotes keep text as text."""
    items = value if isinstance(value, list) else [value]
    if len({type(item) for item in items}) > 1 or not all(isinstance(item, str | bool | int | float) for item in items):
        raise ConfigError(f"parameter '{name}': must be text, number, bool or a list of one kind, got {value!r}")
    if any(isinstance(item, float) and not math.isfinite(item) for item in items):
        raise ConfigError(f"parameter '{name}': must be finite, got {value!r}")
    return json.dumps(value, ensure_ascii=False)
