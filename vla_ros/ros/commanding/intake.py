"""What the commander hears: joint states and chunks, how often they come, and why some are refused."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import JointState

from vla_ros.core.errors import MessageError
from vla_ros.core.robot import RobotSpec
from vla_ros.core.text import listed, shorten
from vla_ros.core.timing import RateMeter
from vla_ros.ros.convert import is_foreign, joint_state_to_array, to_ns

JOINT_STATES, CHUNK = "joint_states", "chunk"
MANY = 3  # refusals in a row that are no accident


class Intake:
    """Keeps account of what came and what was refused; the reasons apart, since either may hide the other."""

    def __init__(self, node: Node, robot: RobotSpec) -> None:
        self._node, self._robot = node, robot
        self._meters = {JOINT_STATES: RateMeter(), CHUNK: RateMeter()}
        self._refused, self._last = 0, {JOINT_STATES: "", CHUNK: ""}
        self._unheard = 0  # joint states refused since the last good ones
        self._foreign, self._foreign_names = 0, ""
        self.chunk_refused = False  # whether the newest chunk is not followed

    def positions(self, message: JointState) -> NDArray[np.float64] | None:
        """Return the robot's positions; None for another machine's joint states, and for broken ones, which count."""
        if is_foreign(message, self._robot.joint_names):
            self._foreign, self._foreign_names = self._foreign + 1, listed(message.name)
            return None
        if not to_ns(message.header.stamp):
            self.refuse(JOINT_STATES, "joint states have no stamp; set header.stamp in the driver")
            return None
        try:
            return joint_state_to_array(message, self._robot.joint_names)
        except MessageError as error:
            self.refuse(JOINT_STATES, str(error))
            return None

    def judged(self, now_ns: int, refusal: str | None) -> None:
        """Note that the commander took joint states, or why not."""
        if refusal is None:
            self.came(JOINT_STATES, now_ns)
            self._unheard = 0
        else:
            self.refuse(JOINT_STATES, refusal)

    def came(self, what: str, now_ns: int) -> None:
        """Note that one came."""
        self._meters[what].tick(now_ns)

    def refuse(self, what: str, why: str) -> None:
        """Count a refusal, and log it."""
        self._refused += 1
        self.chunk_refused = self.chunk_refused or what == CHUNK
        self._unheard += what == JOINT_STATES
        self._last[what] = shorten(why)
        self._node.get_logger().warning(shorten(why), throttle_duration_sec=5.0)

    def refused_chunk(self, why: str) -> None:
        """Keep why the commander does not follow a chunk."""
        self.chunk_refused = True
        self._last[CHUNK] = f"action chunk refused: {shorten(why)}"

    def explained(self, refusal: str | None) -> str | None:
        """Return a refusal to arm; with why no joint states are taken, if it names them: they may well have come."""
        if refusal is None or "joint states" not in refusal:
            return refusal
        if self._unheard:
            return f"{refusal}; {self._unheard_text()}"
        if self._meters[JOINT_STATES].count:
            return refusal
        if not self._foreign:
            return f"{refusal}; nothing was received on {self._robot.joint_states_topic}"
        return f"{refusal}; what came on {self._robot.joint_states_topic} names other joints: {self._foreign_names}"

    @property
    def trouble(self) -> str:
        """Why no joint states are taken any more, or not the newest chunk; empty if they are."""
        if self._unheard >= MANY:
            return self._unheard_text()
        return self._last[CHUNK] if self.chunk_refused else ""

    def values(self, now_ns: int) -> dict[str, object]:
        """Return the figures for diagnostics."""
        found: dict[str, object] = {"refused": self._refused, "joint_states foreign": self._foreign}
        found |= {f"{name} last refusal": why for name, why in self._last.items()}
        for name, meter in self._meters.items():
            found |= {f"{name} rate_hz": meter.rate_hz(now_ns), f"{name} age_s": meter.age_s(now_ns)}
        return found

    def _unheard_text(self) -> str:
        return f"{self._unheard} joint states refused in a row, the last: {self._last[JOINT_STATES]}"
