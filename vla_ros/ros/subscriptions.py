"""The robot's topics on a host node: each message goes through `Ingest` into a synchroniser."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node

from vla_ros.core.robot import RobotSpec
from vla_ros.core.streams.synchroniser import Synchroniser
from vla_ros.core.types import NS_PER_S
from vla_ros.ros.ingest import INSTRUCTION, JOINT_STATES, Ingest, Source
from vla_ros.ros.listening.everyone import Heard, hear_everyone
from vla_ros.ros.qos import SENSOR, STATES


class Inputs(Ingest):
    """Subscriptions of the cameras, joint states and instruction. Callbacks never raise: what is wrong is counted,
    named in `last_error`, and logged at most once in five seconds.

    on_image: called after each accepted image. on_instruction: called with each accepted sentence that is another one.
    heard: what was heard of instructions, kept by a node that ceases to listen and begins again: a sentence that was
        replaced meanwhile must not come back because its author keeps it for latecomers.
    on_jump: called where the clock has gone back further than stamps may lie ahead: what came before is of another
        time, and would have all that comes now refused. (rclpy tells of jumps of simulated time alone.)
    """

    def __init__(
        self,
        node: Node,
        robot: RobotSpec,
        synchroniser: Synchroniser,
        cameras: tuple[str, ...],
        on_image: Callable[[], None],
        on_instruction: Callable[[str], None],
        on_jump: Callable[[], None],
        heard: Heard | None = None,
    ) -> None:
        super().__init__(robot, synchroniser, cameras)
        self._node = node
        self._on_image, self._on_instruction, self._on_jump = on_image, on_instruction, on_jump
        self._now_ns, self._ahead_ns = 0, round(robot.sync.max_ahead_s * NS_PER_S)
        self._heard = heard or Heard()
        self._subscriptions = [one for source in self.sources for one in self._subscribe(source)]

    def close(self) -> None:
        """Remove the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def figures(self, now_ns: int) -> dict[str, object]:
        """Return rates, ages and refusals, for diagnostics."""
        found: dict[str, object] = {}
        for name, meter in self.meters.items():
            found[f"{name} rate_hz"], found[f"{name} age_s"] = meter.rate_hz(now_ns), meter.age_s(now_ns)
        found |= {f"{name} refused": count for name, count in self.refused.items()}
        return found | ({"joint_states foreign": self.foreign} if self.foreign else {})

    def _subscribe(self, source: Source) -> list[Any]:
        take = partial(self._on_message, source)
        if source.name == INSTRUCTION:  # by whom, and how, nobody knows: speech nodes, web pages, a terminal
            return hear_everyone(self._node, source.kind, source.topic, take, heard=self._heard)
        qos = STATES if source.name == JOINT_STATES else SENSOR
        return [self._node.create_subscription(source.kind, source.topic, take, qos)]

    def _on_message(self, source: Source, message: Any) -> None:
        before_ns, self._now_ns = self._now_ns, int(self._node.get_clock().now().nanoseconds)
        if self._now_ns < before_ns - self._ahead_ns:
            self._on_jump()
        if not self.take(source, message, self._now_ns):
            return
        if source.name == INSTRUCTION:
            self._on_instruction(self._synchroniser.instruction)
        elif source.name != JOINT_STATES:
            self._on_image()

    def _refuse(self, source: Source, why: str) -> None:
        super()._refuse(source, why)
        self._node.get_logger().warning(self.last_error, throttle_duration_sec=5.0)
