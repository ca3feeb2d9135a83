"""The entities of a launch file as frozen dataclasses, read strictly from YAML.

The format is ROS 2's (launch_yaml, launch_ros). Anything not listed here is refused, so that no part of a file is
silently ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_ros.core.config import load_yaml
from vla_ros.core.errors import ConfigError, did_you_mean

PARAMETER_TYPES = ("str", "int", "float", "bool")


@dataclass(frozen=True, slots=True)
class Condition:
    """`if:` or `unless:` with its text."""

    text: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class Arg:
    """A declared launch argument; required if `default` is None."""

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Let:
    """A variable for the rest of the file."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class SetEnv:
    """An environment variable of every process that follows."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Include:
    """Another launch file, with arguments for it."""

    file: str
    arguments: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Param:
    """One ROS parameter (`name`, `value`, perhaps `type`), or a parameter file (`file`)."""

    name: str
    value: Any
    type: str | None
    file: str | None


@dataclass(frozen=True, slots=True)
class Node:
    """A ROS node to start."""

    package: str
    executable: str
    name: str | None
    namespace: str | None
    params: tuple[Param, ...]
    remaps: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    shutdown_on_exit: bool
    emulate_tty: bool


@dataclass(frozen=True, slots=True)
class Entity:
    """One item of the file: its content, its condition, and its place (for messages)."""

    action: Arg | Let | SetEnv | Include | Node
    condition: Condition | None
    where: str


def read_entities(path: Path) -> tuple[Entity, ...]:
    """Return the entities of a launch file, in order."""
    data = load_yaml(path)
    if not isinstance(data, dict) or list(data) != ["launch"] or not isinstance(data["launch"], list):
        raise ConfigError(f"{path}: must be one key 'launch' with a list below it")
    return tuple(_entity(item, f"{path}: launch[{index}]") for index, item in enumerate(data["launch"]))


class _Keys:
    """A mapping that tracks which keys were read, and refuses the rest."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise ConfigError(f"{where}: must be keys with values, got {data!r}")
        self.data: Mapping[Any, Any] = data
        self.where = where
        self.known: set[str] = set()

    def text(self, key: str, default: str | None = None, *, required: bool = False) -> str | None:
        self.known.add(key)
        value = self.data.get(key, default)
        if value is None and required:
            raise ConfigError(f"{self.where}: key '{key}' is missing")
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{self.where}: {key} must be text in quotes, '{value}', got {value!r}")
        return value

    def need(self, key: str) -> str:
        return self.text(key, required=True) or ""

    def flag(self, key: str) -> bool:
        self.known.add(key)
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            raise ConfigError(f"{self.where}: {key} must be true or false, got {value!r}")
        return value

    def word(self, key: str, allowed: tuple[str, ...]) -> str | None:
        value = self.text(key)
        if value is not None and value not in allowed:
            raise ConfigError(f"{self.where}: {key}: '{value}' is not supported{did_you_mean(value, allowed)}")
        return value

    def any(self, key: str) -> Any:
        self.known.add(key)
        return self.data.get(key)

    def each(self, key: str) -> tuple[_Keys, ...]:
        self.known.add(key)
        items = self.data.get(key, [])
        if not isinstance(items, list) or (key in self.data and not items):
            raise ConfigError(f"{self.where}: {key} must be a list of one item or more, each with its own keys")
        return tuple(_Keys(item, f"{self.where}: {key}[{index}]") for index, item in enumerate(items))

    def pairs(self, key: str, first: str, second: str) -> tuple[tuple[str, str], ...]:
        found = []
        for item in self.each(key):
            found.append((item.need(first), item.need(second)))
            item.done()
        return tuple(found)

    def done(self) -> None:
        for key in self.data:
            if key not in self.known:
                raise ConfigError(f"{self.where}: unknown key '{key}'{did_you_mean(str(key), self.known)}")


def _entity(item: Any, where: str) -> Entity:
    if not isinstance(item, dict) or len(item) != 1:
        raise ConfigError(f"{where}: each list item must be one entity: {', '.join(_READERS)}")
    kind, data = next(iter(item.items()))
    if kind not in _READERS:
        raise ConfigError(f"{where}: unknown entity '{kind}'{did_you_mean(str(kind), _READERS)}")
    keys = _Keys(data, f"{where}.{kind}")
    condition = _condition(keys)
    action = _READERS[kind](keys)
    keys.done()
    return Entity(action, condition, keys.where)


def _condition(keys: _Keys) -> Condition | None:
    positive, negative = keys.text("if"), keys.text("unless")
    if positive is not None and negative is not None:
        raise ConfigError(f"{keys.where}: 'if' and 'unless' together; keep one")
    if positive is None and negative is None:
        return None
    return Condition(positive or negative or "", positive is not None)


def _arg(keys: _Keys) -> Arg:
    choices = []
    for choice in keys.each("choice"):
        choices.append(choice.need("value"))
        choice.done()
    return Arg(keys.need("name"), keys.text("default"), keys.text("description") or "", tuple(choices))


def _let(keys: _Keys) -> Let:
    return Let(keys.need("name"), keys.need("value"))


def _set_env(keys: _Keys) -> SetEnv:
    return SetEnv(keys.need("name"), keys.need("value"))


def _include(keys: _Keys) -> Include:
    return Include(keys.need("file"), keys.pairs("arg", "name", "value"))


def _node(keys: _Keys) -> Node:
    keys.word("output", ("screen", "both"))
    return Node(
        package=keys.need("pkg"),
        executable=keys.need("exec"),
        name=keys.text("name"),
        namespace=keys.text("namespace"),
        params=tuple(_param(param) for param in keys.each("param")),
        remaps=keys.pairs("remap", "from", "to"),
        environment=keys.pairs("env", "name", "value"),
        shutdown_on_exit=keys.word("on_exit", ("shutdown",)) is not None,
        emulate_tty=keys.flag("emulate_tty"),
    )


def _param(keys: _Keys) -> Param:
    file, name, value = keys.text("from"), keys.text("name"), keys.any("value")
    kind = keys.word("type", PARAMETER_TYPES)
    keys.done()
    if (file is None) == (name is None) or (name is not None and value is None):
        raise ConfigError(f"{keys.where}: must be 'name' and 'value', or 'from' alone")
    if isinstance(value, dict):
        raise ConfigError(f"{keys.where}: value: write nested parameters with dots in the name")
    return Param(name or "", value, kind, file)


_READERS: dict[str, Callable[[_Keys], Arg | Let | SetEnv | Include | Node]] = {
    "arg": _arg,
    "include": _include,
    "let": _let,
    "node": _node,
    "set_env": _set_env,
}
