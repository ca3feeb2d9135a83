"""The command topics of a robot: each at its own rate, and nothing lost of the last word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node

from vla_ros.core.execution.guard import Mode, Verdict
from vla_ros.core.robot import CommandSpec, RobotSpec
from vla_ros.core.types import NS_PER_S
from vla_ros.ros.convert import COMMAND_TYPES, command_message
from vla_ros.ros.qos import actuation

FLUSH_S = 0.3


@dataclass(slots=True)
class _Output:
    spec: CommandSpec
    names: list[str]
    columns: NDArray[np.intp]
    period_ns: int
    publisher: Any
    sent_ns: int | None = None  # the moment of the last command
    due_ns: int = 0  # the place of the next one in the row

    def is_due(self, moment_ns: int, slack_ns: int) -> bool:
        """Return whether its own rate leaves room for a command; if the clock went back, the row begins anew."""
        return self.sent_ns is None or moment_ns < self.sent_ns or moment_ns >= self.due_ns - slack_ns

    def send(self, verdict: Verdict, moment_ns: int) -> None:
        """Publish what concerns it."""
        values = verdict.velocity if self.spec.interface == "velocity" else verdict.command
        assert values is not None  # else nothing is sent
        names, columns = self.names, self.columns
        self.publisher.publish(command_message(self.spec.type, names, values[columns], moment_ns, self.period_ns))
        in_row = abs(moment_ns - self.due_ns) <= self.period_ns // 2
        self.due_ns = (self.due_ns if in_row else moment_ns) + self.period_ns
        self.sent_ns = moment_ns


class Outputs:
    """Publishes verdicts. Those of the arm go out as they come; a gripper with a lower `rate_hz` of its own gets the
    newest at that rate, and at once where a stop begins or ends.

    dry_run: has no publishers, so that it is nobody's rival.
    """

    def __init__(self, node: Node, robot: RobotSpec, dry_run: bool = False) -> None:
        self._node, self._outputs = node, []
        self._period_ns = round(NS_PER_S / robot.command.rate_hz)
        self._last: NDArray[np.float64] | None = None
        self._mode, self._resting = Mode.DISARMED, True
        try:
            for spec, columns in () if dry_run else robot.outputs:
                self._outputs.append(self._output(robot, spec, columns))
        except Exception:
            self.close()  # left behind, it would count as a rival of the next one
            raise

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics, as others see them; one a publisher."""
        return tuple(one.publisher.topic_name for one in self._outputs)

    def publish(self, verdict: Verdict, periodic: bool = True) -> None:
        """Send what is due. periodic: False for a verdict between two control periods."""
        urgent = self._note(verdict)
        if verdict.command is None or verdict.velocity is None:
            return
        assert verdict.moment_ns is not None  # as the command
        for one in self._outputs:
            due = one.period_ns <= self._period_ns or (periodic and one.is_due(verdict.moment_ns, self._period_ns // 2))
            if urgent or due:
                one.send(verdict, verdict.moment_ns)

    def flush(self) -> None:
        """Wait until every listener has the last command, but not for long: one may have gone."""
        for one in self._outputs:
            one.publisher.wait_for_all_acked(Duration(seconds=FLUSH_S))

    def close(self) -> None:
        """Remove the publishers."""
        for one in self._outputs:
            self._node.destroy_publisher(one.publisher)
        self._outputs = []

    def _note(self, verdict: Verdict) -> bool:
        """Return whether a slow output must send this verdict too: a stop begins, or has come to rest."""
        was, last = (self._mode, self._resting), self._last
        self._mode, self._last = verdict.mode, verdict.command
        self._resting = verdict.command is None
        if verdict.command is not None and verdict.mode is not Mode.ARMED and last is not None:
            self._resting = np.array_equal(last, verdict.command) and not np.any(verdict.velocity)
        return was != (self._mode, self._resting)

    def _output(self, robot: RobotSpec, spec: CommandSpec, columns: tuple[int, ...]) -> _Output:
        rate_hz = min(spec.rate_hz, robot.command.rate_hz)
        publisher = self._node.create_publisher(COMMAND_TYPES[spec.type], spec.topic, actuation(rate_hz))
        names = [robot.joint_names[column] for column in columns]
        return _Output(spec, names, np.array(columns, dtype=np.intp), round(NS_PER_S / rate_hz), publisher)
