"""`/diagnostics`: what a node says about itself, once a second and at once when its state changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass(frozen=True, slots=True)
class Report:
    """A level (OK, WARN, ERROR), one line for people, and figures."""

    level: bytes
    message: str
    values: Mapping[str, object] = field(default_factory=dict)


def status(name: str, report: Report) -> DiagnosticStatus:
    """A report as a message; numbers are rounded to what a person reads."""
    values = [KeyValue(key=key, value=_text(value)) for key, value in report.values.items()]
    return DiagnosticStatus(level=report.level, name=name, message=report.message, hardware_id="vla_ros", values=values)


class Diagnostics:
    """Publishes what `report()` returns, every second; call `changed()` where a person should not wait for that."""

    def __init__(self, node: Node, report: Callable[[], Report]) -> None:
        self._node, self._report = node, report
        self._last: tuple[bytes, str] | None = None
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        wall = Clock(clock_type=ClockType.STEADY_TIME)  # a simulation that is paused must not silence them
        self._timer = node.create_timer(1.0, self.publish, clock=wall)

    def changed(self) -> None:
        """Publish now if level or message differ from the last ones."""
        report = self._report()
        if (report.level, report.message) != self._last:
            self._send(report)

    def publish(self) -> None:
        """Publish now."""
        self._send(self._report())

    def close(self) -> None:
        """Publish nothing more."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _send(self, report: Report) -> None:
        self._last = report.level, report.message
        message = DiagnosticArray(status=[status(self._node.get_name(), report)])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def _text(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
