"""Play cameras of any size and rate for `vla-ros bench bags`, once somebody records them; ends by itself."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image

from vla_ros.core.errors import VlaRosError
from vla_ros.ros.images import array_to_image
from vla_ros.ros.parameters import declare, parameter
from vla_ros.ros.process.lifecycle import spin
from vla_ros.ros.qos import SENSOR

FIND_S, MATCH_S, LINGER_S = 20.0, 0.5, 1.0


@dataclass(frozen=True, slots=True)
class Parameters:
    """What to play."""

    topics: str = parameter("", "one topic a camera, separated by blanks")
    width: int = parameter(640, "pixels", low=1, high=8192)
    height: int = parameter(480, "pixels", low=1, high=8192)
    rate_hz: float = parameter(30.0, "pictures a second of each", low=0.1, high=1000.0)
    seconds: float = parameter(20.0, "how long", low=0.1, high=3600.0)
    out: str = parameter("", "file for what was sent, as JSON")


class CamerasNode(Node):
    """One timer for all cameras; every picture is raw noise, which nothing can compress."""

    def __init__(self) -> None:
        super().__init__("cameras")
        self.parameters = declare(self, Parameters)
        if not self.parameters.topics:
            raise VlaRosError("parameter 'topics' must name one topic per camera, got none")
        size = (self.parameters.height, self.parameters.width, 3)
        self._frame = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        self._publishers = [self.create_publisher(Image, topic, SENSOR) for topic in self.parameters.topics.split()]
        self._left, self._sent = round(self.parameters.seconds * self.parameters.rate_hz), 0
        self._end_s = time.monotonic() + FIND_S
        self._heard_s: float | None = None
        self.create_timer(1 / self.parameters.rate_hz, self._shoot)

    def _shoot(self) -> None:
        if not self._left:
            self._finish()
        elif self._sent or self._heard():
            now_ns = int(self.get_clock().now().nanoseconds)
            for publisher in self._publishers:
                publisher.publish(array_to_image(self._frame, now_ns))
            self._sent, self._left = self._sent + 1, self._left - 1
            self._end_s = time.monotonic() + LINGER_S
        elif time.monotonic() > self._end_s:
            self.get_logger().error(f"nobody records {self.parameters.topics}")
            self.context.try_shutdown()

    def _heard(self) -> bool:
        """Whether somebody has listened to every camera for a while: what is sent sooner may be lost."""
        if not all(publisher.get_subscription_count() for publisher in self._publishers):
            self._heard_s = None
        elif self._heard_s is None:
            self._heard_s = time.monotonic()
        return self._heard_s is not None and time.monotonic() - self._heard_s > MATCH_S

    def _finish(self) -> None:
        """The last pictures are still on their way."""
        if time.monotonic() > self._end_s:
            Path(self.parameters.out).write_text(json.dumps({"sent": self._sent}), encoding="utf-8")
            self.context.try_shutdown()


def main() -> None:
    """Entry point."""
    spin(CamerasNode, lambda node: None, lambda node: None)


if __name__ == "__main__":
    main()
