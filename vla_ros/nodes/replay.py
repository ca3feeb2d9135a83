"""Publishes a bag's messages again, as they were and when they were due; ends with the bag."""

from __future__ import annotations

import json
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.clock import Clock as RclpyClock
from rclpy.clock import ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from vla_ros.bags.reader import Bag, Recorded, Topic, open_bag
from vla_ros.bags.schedule import Lateness, Player
from vla_ros.bags.topics import replayed_topics
from vla_ros.core.errors import MessageError, VlaRosError
from vla_ros.core.robot import load_robot
from vla_ros.ros.convert import to_time
from vla_ros.ros.lifecycle import spin
from vla_ros.ros.message_types import message_class
from vla_ros.ros.parameters import declare, parameter
from vla_ros.ros.scheduling import take_priority

CLOCK_PERIOD_S, MATCH_S, FIND_S = 0.005, 0.5, 3.0
DEPTH = 1000  # every message is to arrive, also where the listener is held up for a while


@dataclass(frozen=True, slots=True)
class Parameters:
    """The replay's parameters."""

    bag: str = parameter("", "a rosbag2 folder, or a lone .mcap or .db3 file")
    robot: str = parameter("ur5e_tabletop", "robot contract, which tells inputs from commands")
    rate: float = parameter(1.0, "how many times faster than it was", low=0.01, high=100.0)
    start_s: float = parameter(0.0, "where to begin [s]", low=0.0, high=1e9)
    loop: bool = parameter(False, "begin again at the end; /clock jumps back then")
    topics: str = parameter("", "topics, separated by blanks; empty: the robot's inputs; all: everything but commands")
    commands: bool = parameter(False, "publish the recorded commands too: a robot that listens will move")
    clock: bool = parameter(True, "publish the bag's time on /clock")
    priority: int = parameter(
        0, "real-time priority (SCHED_FIFO), where the system permits it; 0: none", low=0, high=99
    )
    report: str = parameter("", "file for the count and the lateness, as JSON")


class ReplayNode(Node):
    """Publishers, the clock, and a thread in which a `Player` keeps the time."""

    def __init__(self) -> None:
        super().__init__("replay")
        self.parameters = declare(self, Parameters)
        if not self.parameters.bag:
            raise VlaRosError("parameter 'bag' is empty; right would be a rosbag2 folder")
        take_priority(self.parameters.priority)
        self._bag = open_bag(self.parameters.bag).__enter__()
        self._outputs = self._make_publishers(self._bag)
        self._player = self._new_player()
        self._sent = 0
        if self.parameters.clock:
            self._clock_topic = self.create_publisher(Clock, "/clock", 10)
            wall = RclpyClock(clock_type=ClockType.STEADY_TIME)
            self.create_timer(CLOCK_PERIOD_S, self._tell_time, clock=wall)
        self._thread = threading.Thread(target=self._play, name="replay", daemon=True)

    def start(self) -> None:
        """Begin; the process ends by itself."""
        self._thread.start()

    def close(self) -> None:
        """Send nothing more."""
        self._closed = True
        self._player.stop()
        self._thread.join(2.0)
        self._bag.__exit__(None, None, None)

    _closed = False

    def _make_publishers(self, bag: Bag) -> dict[str, Any]:
        wanted = replayed_topics(bag, load_robot(self.parameters.robot), self.parameters.topics.split(),
                                 self.parameters.commands)  # fmt: skip
        found = {}
        for topic in (one for one in bag.topics if one.name in wanted):
            try:
                found[topic.name] = self.create_publisher(message_class(topic.type), topic.name, _quality(topic))
            except MessageError:
                self.get_logger().warning(f"{topic.name} is left out: its type {topic.type} is not installed here")
        if not found:
            raise VlaRosError(
                f"{bag.path}: nothing to replay; it holds {', '.join(t.name for t in bag.topics) or 'no topic'}"
            )
        return found

    def _new_player(self, lateness: Lateness | None = None) -> Player:
        return Player(self._bag, self._outputs, self.parameters.rate, self.parameters.start_s, lateness)

    def _tell_time(self) -> None:
        self._clock_topic.publish(Clock(clock=to_time(self._player.now_ns())))

    def _send(self, recorded: Recorded) -> None:
        self._outputs[recorded.topic].publish(recorded.data)
        self._sent += 1

    def _play(self) -> None:
        self._await_listeners()
        try:
            while self._player.play(self._send) and self.parameters.loop and not self._closed:
                self._player = self._new_player(self._player.lateness)
            self._tell_end()
        except VlaRosError as error:
            self.get_logger().error(str(error))
        if not self._closed:
            threading.Event().wait(MATCH_S)  # what was sent last is still on its way
            signal.raise_signal(signal.SIGTERM)  # the main thread ends it: a timer of its executor may be publishing

    def _await_listeners(self) -> None:
        """Until every topic has one, or after a while; DDS finds them one after the other."""
        pause, end_s = threading.Event(), time.monotonic() + FIND_S
        while time.monotonic() < end_s and not all(out.get_subscription_count() for out in self._outputs.values()):
            pause.wait(0.05)
        pause.wait(MATCH_S)

    def _tell_end(self) -> None:
        late = self._player.lateness
        found = {"messages": self._sent, "late_ms_p50": late.quantile_ms(0.5), "late_ms_p99": late.quantile_ms(0.99)}
        self.get_logger().info(json.dumps(found))
        if self.parameters.report:
            Path(self.parameters.report).write_text(json.dumps(found), encoding="utf-8")


def _quality(topic: Topic) -> QoSProfile:
    return QoSProfile(
        depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE if topic.reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE,
    )  # fmt: skip


def main() -> None:
    """Entry point."""
    spin(ReplayNode, lambda node: node.start(), lambda node: node.close())


if __name__ == "__main__":
    main()
