"""Parameters are declared once from a dataclass; a wrong one is one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from vla_ros.core.errors import ConfigError
from vla_ros.ros.parameters import declare, parameter


@dataclass(frozen=True, slots=True)
class Example:
    rate_hz: float = parameter(10.0, "how often", low=1.0, high=50.0)
    count: int = parameter(2, "how many", low=0, high=9, read_only=False)
    dry: bool = parameter(False, "whether")
    robot: str = parameter("ur5e", "which")


@pytest.fixture
def node_with(rclpy_context: object) -> Iterator[Any]:
    """Makes a node whose parameters were overridden, as `-p name:=value` does."""
    import rclpy
    from rclpy.parameter import Parameter

    nodes = []

    def make(**overrides: object) -> Any:
        values = [Parameter(name, value=value) for name, value in overrides.items()]
        nodes.append(rclpy.create_node("example", parameter_overrides=values))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_values_come_from_the_command_line_or_the_defaults(node_with):
    assert declare(node_with(count=7, robot="fr3"), Example) == Example(10.0, 7, False, "fr3")


def test_description_range_and_read_only_are_shown(node_with):
    node = node_with()
    declare(node, Example)
    rate, count = node.describe_parameter("rate_hz"), node.describe_parameter("count")
    assert (rate.description, rate.read_only, count.read_only) == ("how often", True, False)
    assert (rate.floating_point_range[0].from_value, rate.floating_point_range[0].to_value) == (1.0, 50.0)
    assert (count.integer_range[0].from_value, count.integer_range[0].to_value) == (0, 9)


def test_what_is_read_only_or_out_of_range_cannot_be_set_later(node_with):
    from rclpy.parameter import Parameter

    node = node_with()
    declare(node, Example)
    wanted = {"rate_hz": 20.0, "count": 10, "dry": True}
    assert not any(node.set_parameters([Parameter(name, value=value)])[0].successful for name, value in wanted.items())
    assert node.set_parameters([Parameter("count", value=3)])[0].successful


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"rate_hz": 1000.0},
            r"node example, parameter 'rate_hz' must be a number with a decimal point from 1.0 to 50.*1000",
        ),
        ({"rate_hz": 10}, "parameter 'rate_hz' must be a number with a decimal point.*'10'"),
        ({"count": -1}, "parameter 'count' must be a whole number from 0 to 9: .*-1"),
        ({"dry": 7}, "parameter 'dry' must be true or false: "),
        ({"robot": 5}, "parameter 'robot' must be text: "),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(node_with, wrong, message):
    with pytest.raises(ConfigError, match=message):
        declare(node_with(**wrong), Example)


def test_a_misspelt_parameter_is_refused_and_a_foreign_one_is_not(node_with):
    """rclpy drops both without a word; a file for several nodes may hold what this one does not know."""
    with pytest.raises(ConfigError, match="node example: unknown parameter 'rate_hzz'; did you mean 'rate_hz'"):
        declare(node_with(rate_hzz=20.0), Example)
    assert declare(node_with(model="m", use_sim_time=False), Example) == Example(10.0, 2, False, "ur5e")
