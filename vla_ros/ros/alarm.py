"""How surprising what a world model saw is, told: topics, diagnostics, and a commander that is asked to stop."""

from __future__ import annotations

from rclpy.node import Node
from std_msgs.msg import Float32
from std_srvs.srv import Trigger

from vla_ros.core.errors import ConfigError
from vla_ros.core.surprise.score import Calibration, Surprise
from vla_ros.core.surprise.signs import Reading
from vla_ros.ros.diagnostics import ERROR, OK, WARN
from vla_ros.ros.qos import COMMAND


class Alarm:
    """Of one node; any thread may call. Without a calibration it hears nothing and stays calm.

    stop: ask the commander to stop where surprise reaches ERROR.
    """

    def __init__(self, node: Node, calibration: Calibration | None, stop: bool) -> None:
        if stop and calibration is None:
            raise ConfigError("stop_on_error needs thresholds; first run `vla-ros calibrate surprise`")
        self._node, self._stops = node, stop
        self._surprise = None if calibration is None else Surprise(calibration)
        self._scores = node.create_publisher(Float32, "~/surprise", COMMAND)
        self._inverse = node.create_publisher(Float32, "~/inverse_surprise", COMMAND)
        self._stop = node.create_client(Trigger, "commander/stop")

    def hear(self, now_ns: int, reading: Reading) -> None:
        """Take a reading, publish how surprising it is."""
        if (surprise := self._surprise) is None or not reading:
            return
        score = surprise.hear(now_ns, reading)
        self._scores.publish(Float32(data=score))
        self._inverse.publish(Float32(data=surprise.inverse))
        if self._stops and score >= 1 and self._stop.service_is_ready():
            self._node.get_logger().error(f"surprise {score:.2f} ({surprise.reason}): asking the commander to stop")
            self._stop.call_async(Trigger.Request())

    def clear(self) -> None:
        """Clear what was heard."""
        if self._surprise is not None:
            self._surprise.clear()

    @property
    def calibrated(self) -> bool:
        """Whether it hears anything."""
        return self._surprise is not None

    @property
    def level(self) -> bytes:
        """OK, WARN or ERROR of the surprise of the last second."""
        if self._surprise is None or not self._surprise.value >= self._surprise.calibration.warn:
            return bytes(OK)
        return bytes(ERROR if self._surprise.value >= 1 else WARN)

    @property
    def reason(self) -> str:
        """The sign that it comes from; empty where none is more than usual."""
        return "" if self._surprise is None else self._surprise.reason

    def figures(self) -> dict[str, float]:
        """Return the figures for diagnostics."""
        if (surprise := self._surprise) is None:
            return {}
        told = {"surprise": surprise.value, "surprise warn": surprise.calibration.warn, "surprise error": 1.0}
        return told | {f"surprise of {name}": score for name, score in sorted(surprise.signs.items())}

    def close(self) -> None:
        """Publish nothing more."""
        for publisher in (self._scores, self._inverse):
            self._node.destroy_publisher(publisher)
        self._node.destroy_client(self._stop)
