"""Strict YAML: a file becomes a frozen dataclass, or one line says where it is wrong and what would be right."""

from __future__ import annotations

import dataclasses
import math
import re
import reprlib
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.files import read_small

T = TypeVar("T")
_MAY_BE_INFINITE = "may be infinite"
Unbounded = Annotated[float, _MAY_BE_INFINITE]  # a limit that may be .inf or -.inf

# A small file of aliases can hold a value that fills the memory when printed in full.
_short = reprlib.Repr()
_short.maxlevel, _short.maxstring = 2, 80

MAX_BYTES = 1_000_000
MAX_VALUES = 100_000  # of a file, with what its aliases stand for
MAX_DIGITS = 64  # of a number; longer ones cost time that grows with the square of their length
_SCALARS = {str: "text", bool: "true or false", int: "a whole number", float: "a finite number", Path: "a path"}


class _StrictLoader(yaml.SafeLoader):
    """safe_load that refuses duplicate keys and reads `1e-3` as a number, as YAML 1.2 does.

    Aliases may not multiply: what they stand for counts as often as they are used.
    """

    _composed = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node, and stop at a file of too many before its end is read."""
        self._composed += 1
        if self._composed > MAX_VALUES:
            raise ConfigError(f"holds more than {MAX_VALUES} values; a configuration is a small file")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def get_single_node(self) -> yaml.Node | None:
        """Return the file's one document, not yet built; ConfigError where it holds too much."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None and (count := _values(node, {})) > MAX_VALUES:
            several = "more than 10^9" if count > 10**9 else str(count)
            raise ConfigError(f"holds {several} values with its aliases expanded; the limit is {MAX_VALUES}")
        return node


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node stands for, with its aliases expanded; ConfigError for one that holds itself."""
    count = known.get(id(node))
    if count is None:
        known[id(node)] = 0  # of a node that we are in
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        count = 1 + sum(_values(c, known) for child in children for c in (child if type(child) is tuple else (child,)))
        known[id(node)] = count
    if count == 0:
        raise ConfigError(f"line {node.start_mark.line + 1}: an alias stands for a block that it lies in")
    return count


def _number(loader: _StrictLoader, node: yaml.ScalarNode) -> int | float:
    if len(node.value) > MAX_DIGITS:
        raise ConfigError(f"line {node.start_mark.line + 1}: a number of {len(node.value)} characters")
    whole = node.tag.endswith(":int")
    found: int | float = loader.construct_yaml_int(node) if whole else loader.construct_yaml_float(node)
    return found


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        name = str(getattr(key, "value", key))
        if name in seen:
            raise ConfigError(f"line {key.start_mark.line + 1}: key '{name}' is given twice; keep one")
        seen.add(name)
    loader.flatten_mapping(node)
    return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _number)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _number)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def load_yaml(path: Path | str) -> Any:
    """Return the plain content of a YAML file: dicts, lists, scalars. Tags that build objects are refused."""
    path = Path(path)
    try:
        text = read_small(path, MAX_BYTES)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Return the plain content of a YAML text, as strictly as `load_yaml`; `where` opens every message."""
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    except (yaml.YAMLError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise ConfigError(f"{where}: not valid YAML: {_yaml_reason(error)}") from None


def _yaml_reason(error: Exception) -> str:
    """Return what is wrong and where, without the parser's name for the text and its drawing of the place."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem:
        problem = ", ".join(filter(None, (error.problem, error.context)))
        mark = error.problem_mark or error.context_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem
    return " ".join(str(error).split()).replace(' in "<unicode string>"', "")[:500]


def read_yaml(path: Path | str, kind: type[T]) -> T:
    """Read a YAML file into the dataclass `kind`; unknown, missing, doubled and mistyped keys are refused."""
    return parse(load_yaml(path), kind, str(path))


def parse(data: object, kind: type[T], where: str) -> T:
    """Turn plain data into `kind`. `where` names the source and opens every message."""
    result: T = _build(data, kind, where, "")
    return result


def to_plain(value: Any) -> Any:
    """Turn dataclasses, tuples and paths into dicts, lists and text, ready for yaml.safe_dump; inverts `parse`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _fail(where: str, key: str, what: str) -> ConfigError:
    return ConfigError(f"{where}: {key}: {what}" if key else f"{where}: {what}")


def _build(data: Any, kind: Any, where: str, key: str) -> Any:
    origin = get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(data, kind, where, key)
    if kind is Any:
        return data
    if origin is Annotated and isinstance(data, float) and math.isinf(data):
        return data
    if origin is Annotated:
        return _build(data, get_args(kind)[0], where, key)
    if kind in _SCALARS:
        return _scalar(data, kind, where, key)
    builders: dict[Any, Callable[..., Any]] = {
        Literal: _literal,
        tuple: _tuple,
        list: _list,
        dict: _dict,
        Mapping: _dict,
        types.UnionType: _union,
        Union: _union,
    }
    if origin in builders:
        return builders[origin](data, kind, where, key)
    raise TypeError(f"the field '{key}' has type {kind}, which vla_ros.core.config does not read")


def _scalar(data: Any, kind: type, where: str, key: str) -> Any:
    if kind is float and type(data) is int:
        data = float(data)
    wanted = str if kind is Path else kind
    if type(data) is not wanted or (isinstance(data, float) and not math.isfinite(data)):
        raise _fail(where, key, f"must be {_SCALARS[kind]}, got {_short.repr(data)}")
    return kind(data)


def _literal(data: Any, kind: Any, where: str, key: str) -> Any:
    choices = get_args(kind)
    if any(data == choice and type(data) is type(choice) for choice in choices):
        return data
    raise _fail(where, key, f"must be one of {', '.join(map(str, choices))}, got {_short.repr(data)}")


def _union(data: Any, kind: Any, where: str, key: str) -> Any:
    """Read `X | None`, or dataclasses told apart by a field `kind` with one literal."""
    inner = [option for option in get_args(kind) if option is not type(None)]
    if data is None and len(inner) < len(get_args(kind)):
        return None
    if len(inner) == 1:
        return _build(data, inner[0], where, key)
    if not all(dataclasses.is_dataclass(option) and "kind" in get_type_hints(option) for option in inner):
        raise TypeError(f"the field '{key}' has type {kind}; only 'X | None' and dataclasses with a 'kind' are read")
    by_kind = {get_args(get_type_hints(option)["kind"])[0]: option for option in inner}
    name = _named(data, where, key).get("kind")
    if name not in by_kind:
        raise _fail(where, key, f"kind must be one of {', '.join(by_kind)}, got {_short.repr(name)}")
    return _build(data, by_kind[name], where, key)


def _sequence(data: Any, where: str, key: str) -> list[Any]:
    if not isinstance(data, list):
        raise _fail(where, key, f"must be a list, got {_short.repr(data)}")
    return data


def _list(data: Any, kind: Any, where: str, key: str) -> list[Any]:
    (inner,) = get_args(kind)
    return [_build(item, inner, where, f"{key}[{i}]") for i, item in enumerate(_sequence(data, where, key))]


def _tuple(data: Any, kind: Any, where: str, key: str) -> tuple[Any, ...]:
    inner, items = get_args(kind), _sequence(data, where, key)
    if len(inner) == 2 and inner[1] is Ellipsis:
        inner = (inner[0],) * len(items)
    if len(inner) != len(items):
        raise _fail(where, key, f"must have {len(inner)} items, got {len(items)}")
    pairs = zip(items, inner, strict=True)
    return tuple(_build(item, of, where, f"{key}[{i}]") for i, (item, of) in enumerate(pairs))


def _named(data: Any, where: str, key: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _fail(where, key, f"must be a block of 'key: value' lines, got {_short.repr(data)}")
    for name in data:
        if not isinstance(name, str):
            raise _fail(where, key, f"the key {_short.repr(name)} is not text; put it in quotes")
    return data


def _dict(data: Any, kind: Any, where: str, key: str) -> dict[str, Any]:
    inner = get_args(kind)[1]
    items = _named(data, where, key).items()
    return {name: _build(item, inner, where, f"{key}.{name}" if key else name) for name, item in items}


def _dataclass(data: Any, kind: Any, where: str, key: str) -> Any:
    given = _named(data, where, key)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for name in given:
        if name not in fields:
            raise _fail(where, key, f"unknown key '{name}'{did_you_mean(name, fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in given:
            raise _fail(where, key, f"the key '{name}' is missing")
    hints = get_type_hints(kind, include_extras=True)
    values = {n: _build(v, hints[n], where, f"{key}.{n}" if key else n) for n, v in given.items()}
    try:
        return kind(**values)
    except (ConfigError, ValueError) as error:  # networks know no errors of ours
        raise _fail(where, key, str(error)) from None
