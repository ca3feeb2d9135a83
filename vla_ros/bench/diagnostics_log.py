"""Collects figures that nodes publish on /diagnostics during a benchmark."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import rclpy
from diagnostic_msgs.msg import DiagnosticArray

from vla_ros.ros.diagnostics import node_of
from vla_ros.ros.process.spinning import spinning
from vla_ros.ros.process.starting import start_ros
from vla_ros.ros.qos import EVENTS

Figures = dict[tuple[str, str], list[float]]  # by node and name, one for each message


@contextlib.contextmanager
def listening() -> Iterator[Figures]:
    """Yield figures that grow while the context is open, in a separate thread and ROS context."""
    figures: Figures = defaultdict(list)
    context = rclpy.Context()
    start_ros(context=context)
    node = rclpy.create_node("vla_ros_figures", context=context)
    node.create_subscription(DiagnosticArray, "/diagnostics", partial(_add, figures), EVENTS)
    try:
        with spinning(node, context):
            yield figures
    finally:
        context.try_shutdown()


def _add(figures: Figures, message: DiagnosticArray) -> None:
    for status in message.status:
        if (name := node_of(status)) is None:
            continue
        for pair in status.values:
            with contextlib.suppress(ValueError):
                if math.isfinite(value := float(pair.value)):
                    figures[name, pair.key].append(value)
