"""Parameters <-> frozen dataclasses: declared once, with description and range, read once, read-only afterwards."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from vla_ros.core.config import parse
from vla_ros.core.errors import ConfigError, did_you_mean

T = TypeVar("T")
RCLPY = {"use_sim_time", "start_type_description_service", "qos_overrides"}  # what rclpy declares by itself
MISSPELT = 0.8  # similarity from which a name is a slip of the pen; 1 is equal
KINDS = {bool: "true or false", int: "a whole number", float: "a number with a decimal point", str: "text"}


def parameter(
    default: Any, description: str, *, low: float | None = None, high: float | None = None, read_only: bool = True
) -> Any:
    """Declare a field of a parameter dataclass."""
    about = {"description": description, "low": low, "high": high, "read_only": read_only}
    return dataclasses.field(default=default, metadata=about)


@dataclasses.dataclass(frozen=True, slots=True)
class ModelParameters:
    """What every node that runs a model has."""

    robot: str = parameter("ur5e_tabletop", "robot contract: a YAML file, or a name in config/robots")
    model: str = parameter("uwm_tabletop", "model folder, or its name in models")
    device: str = parameter("cpu", "torch device, such as cpu or cuda:0")
    threads: int = parameter(1, "CPU threads for the network", low=1, high=64)
    autostart: bool = parameter(True, "configure and activate without a lifecycle manager")


def declare(node: Node, kind: type[T]) -> T:
    """Declare every field of `kind` as a parameter of `node`, and return their values.

    Wrong types and values out of range raise ConfigError.
    """
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]  # a dataclass
    _refuse_misspelt(node, [field.name for field in fields])
    values = {field.name: _declare(node, field) for field in fields}
    return parse(values, kind, f"node {node.get_name()}, parameters")


def _refuse_misspelt(node: Node, known: Sequence[str]) -> None:
    """Refuse a given parameter that looks like one of ours: rclpy drops what nobody declares without a word.

    One that looks like none is only named: a parameter file may serve several nodes.
    """
    for name in getattr(node, "_parameter_overrides", {}):
        if name in known or name.partition(".")[0] in RCLPY:
            continue
        if difflib.get_close_matches(name, known, n=1, cutoff=MISSPELT):
            raise ConfigError(f"node {node.get_name()}: unknown parameter '{name}'{did_you_mean(name, known)}")
        node.get_logger().warning(f"parameter '{name}' is not known here and is ignored")


def _declare(node: Node, field: dataclasses.Field[Any]) -> Any:
    try:
        return node.declare_parameter(field.name, field.default, descriptor(field.default, field.metadata)).value
    except ParameterException as error:
        wanted = KINDS[type(field.default)]
        if field.metadata["low"] is not None:
            wanted += f" from {field.metadata['low']} to {field.metadata['high']}"
        raise ConfigError(f"node {node.get_name()}, parameter '{field.name}' must be {wanted}: {error}") from None


def descriptor(default: Any, about: Mapping[str, Any]) -> ParameterDescriptor:
    """Describe a parameter, as `ros2 param describe` shows it."""
    message = ParameterDescriptor(description=about["description"], read_only=about["read_only"])
    if about["low"] is not None:
        if isinstance(default, int):
            message.integer_range = [IntegerRange(from_value=int(about["low"]), to_value=int(about["high"]), step=0)]
        else:
            low, high = float(about["low"]), float(about["high"])
            message.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    return message
