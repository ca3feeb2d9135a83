"""`/diagnostics`: what a node says about itself, once a second and at once when its state changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from vla_ros.core.text import NAME_LONGEST, name_of, shorten

PACKAGE = ("package", "vla_ros")  # by which the statuses of this package's nodes are known
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass(frozen=True, slots=True)
class Report:
    """A level (OK, WARN, ERROR), one readable line, and figures."""

    level: bytes
    message: str
    values: Mapping[str, object] = field(default_factory=dict)


def status(name: str, report: Report) -> DiagnosticStatus:
    """Turn a report into a message; numbers are rounded for reading, and no text is longer than one line.

    Texts hold what others sent: joint names, topics, reasons. What they send must not flood everyone who listens.
    """
    values = [
        KeyValue(key=shorten(key, NAME_LONGEST), value=shorten(_text(value))) for key, value in report.values.items()
    ]
    return DiagnosticStatus(level=report.level, name=name, message=shorten(report.message), values=values)


def waiting(what: str, trouble: str, values: Mapping[str, object]) -> Report:
    """Report a node that has nothing to do; WARN if one of its inputs is in trouble, so that it shows early."""
    return Report(WARN, f"{what}; {trouble}", values) if trouble else Report(OK, what, values)


def node_of(said: DiagnosticStatus, namespace: str = "/") -> str | None:
    """Return the node of this package that sent a status, named as from `namespace`; None for other nodes and robots.

    From `/` the nodes of all robots are seen, as `policy` or `left_arm/policy`.
    """
    if not any(pair.key == PACKAGE[0] and pair.value == PACKAGE[1] for pair in said.values):
        return None
    home = f"{namespace.rstrip('/')}/"
    return name_of(said.name.removeprefix(home)) if said.name.startswith(home) and said.name != home else None


class Diagnostics:
    """Publishes what `report()` returns, every second; call `changed()` where a person should not wait for that.

    The status is named after the node, namespace included; its hardware is `robot`, by the name of its contract.
    """

    def __init__(self, node: Node, report: Callable[[], Report], robot: str = "") -> None:
        self._node, self._report, self._robot = node, report, robot
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
        said = status(self._node.get_fully_qualified_name(), report)
        said.hardware_id = self._robot
        said.values.append(KeyValue(key=PACKAGE[0], value=PACKAGE[1]))
        message = DiagnosticArray(status=[said])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def _text(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
