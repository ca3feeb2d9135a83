"""Bags know message types by one ROS distribution's list; it must be that of every distribution we support."""

from __future__ import annotations

import pytest
from rosbags.typesys import Stores, get_typestore

OURS = (
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "lifecycle_msgs",
    "rcl_interfaces",
    "rosgraph_msgs",
    "sensor_msgs",
    "std_msgs",
    "trajectory_msgs",
)


@pytest.mark.parametrize("package", OURS)
def test_jazzy_and_kilted_have_the_same_messages(package: str) -> None:
    jazzy, kilted = get_typestore(Stores.ROS2_JAZZY), get_typestore(Stores.ROS2_KILTED)
    names = {name for name in kilted.fielddefs if name.startswith(f"{package}/")}
    assert names
    assert names == {name for name in jazzy.fielddefs if name.startswith(f"{package}/")}
    assert {name for name in names if jazzy.hash_rihs01(name) != kilted.hash_rihs01(name)} == set()
