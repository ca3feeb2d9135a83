"""Publish a bag's messages again, as they were and when they were due; end with the bag.

Commands are not published as they were: a guard follows them, as the commander follows plans.
"""

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
from rclpy.exceptions import InvalidTopicNameException
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from vla_ros.bags.reading.reader import CDR, Bag, Recorded, Topic, open_bag, split_topics
from vla_ros.bags.recorded_commands import recorded_motion
from vla_ros.bags.schedule import Lateness, Player
from vla_ros.bags.topics import command_topics, replayed_topics
from vla_ros.core.errors import MessageError, VlaRosError
from vla_ros.core.printable import printable
from vla_ros.core.robot import RobotSpec, load_robot
from vla_ros.ros.commanding.command_player import CommandPlayer
from vla_ros.ros.convert import to_time
from vla_ros.ros.message_types import message_class
from vla_ros.ros.parameters import declare, parameter
from vla_ros.ros.process.lifecycle import ManagedNode, spin
from vla_ros.ros.process.scheduling import take_priority

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
    commands: bool = parameter(
        False, "let the robot repeat the recorded commands, within its limits and from where they begin"
    )
    clock: bool = parameter(True, "publish the bag's time on /clock; never beside commands")
    priority: int = parameter(
        0, "real-time priority (SCHED_FIFO), where the system permits it; 0: none", low=0, high=99
    )
    report: str = parameter("", "file for the count and the lateness, as JSON")


class ReplayNode(ManagedNode):
    """Publishers, the clock, and a thread in which a `Player` keeps the time.

    Raises VlaRosError if there is nothing to replay, or if commands are wanted that may not be repeated.
    """

    def __init__(self) -> None:
        super().__init__("replay")
        self.parameters = said = declare(self, Parameters)
        if not said.bag:
            raise VlaRosError("parameter 'bag' is empty; it must name a rosbag2 folder")
        if said.commands and said.loop:
            raise VlaRosError("loop and commands are both true: the robot would jump from the end to the beginning")
        take_priority(said.priority)
        self._bag = open_bag(said.bag).__enter__()
        robot = load_robot(said.robot)
        wanted = replayed_topics(self._bag, robot, said.topics.split(), said.commands)
        commanded = {*command_topics(robot)} & wanted
        if said.commands and not commanded:
            raise VlaRosError(f"{said.bag}: no commands to repeat on {', '.join(command_topics(robot))}")
        self._outputs = self._make_publishers(self._bag, wanted - commanded)
        self._topics = (*self._outputs, *commanded)
        if not self._topics:
            held = ", ".join(printable(topic.name, 100) for topic in self._bag.topics) or "no topic"
            raise VlaRosError(f"{said.bag}: nothing to replay; it holds {held}")
        self._player = self._new_player()
        self._sent, self._fault, self._closed = 0, "", False
        self._commands = self._make_commands(robot) if commanded else None
        if said.clock and self._commands is None:
            self._clock_topic = self.create_publisher(Clock, "/clock", 10)
            wall = RclpyClock(clock_type=ClockType.STEADY_TIME)
            self.create_timer(CLOCK_PERIOD_S, self._tell_time, clock=wall)
        self._thread = threading.Thread(target=self._play, name="replay", daemon=True)

    def start(self) -> None:
        """Begin; the process ends by itself."""
        self._thread.start()

    def wind_down(self, reason: str) -> None:
        """Stop what moves."""
        self._player.stop()
        if self._commands is not None:
            self._commands.stop(reason)

    @property
    def at_rest(self) -> bool:
        """Whether nothing moves."""
        return self._commands is None or self._commands.at_rest

    def close(self) -> None:
        """Send nothing more."""
        self._closed = True
        self._player.stop()
        if self._commands is not None:
            self._commands.close()
        self._thread.join(2.0)
        self._bag.__exit__(None, None, None)

    def _make_publishers(self, bag: Bag, wanted: frozenset[str]) -> dict[str, Any]:
        found, split = {}, split_topics(bag.topics)
        for topic in (one for one in bag.topics if one.name in wanted):
            name, warning = printable(topic.name, 100), ""
            if topic.serialization != CDR:
                warning = f"it is serialized as '{printable(topic.serialization, 40)}'"
            elif topic.name in split:
                warning = f"it has {len(split[topic.name])} types, and a live topic has one"
            else:
                try:
                    found[topic.name] = self.create_publisher(message_class(topic.type), topic.name, _quality(topic))
                except (MessageError, InvalidTopicNameException) as error:
                    warning = printable(" ".join(str(error).split()), 200)
            if warning:
                self.get_logger().warning(f"{name} is left out: {warning}")
        return found

    def _make_commands(self, robot: RobotSpec) -> CommandPlayer:
        rate, motion = self.parameters.rate, recorded_motion(self._bag, robot)
        if problem := motion.problem(rate):
            raise VlaRosError(f"{self._bag.path}: the commands are not replayed: {problem}")
        return CommandPlayer(self, robot, motion, rate, self._moment, self._stopped)

    def _new_player(self, lateness: Lateness | None = None) -> Player:
        return Player(self._bag, self._topics, self.parameters.rate, self.parameters.start_s, lateness)

    def _moment(self) -> int | None:
        return self._player.now_ns() if self._player.began else None

    def _stopped(self, reason: str) -> None:
        """By the guard, in its thread."""
        self._fault = reason
        self._player.stop()

    def _tell_time(self) -> None:
        self._clock_topic.publish(Clock(clock=to_time(self._player.now_ns())))

    def _send(self, recorded: Recorded) -> None:
        if recorded.topic in self._outputs:  # the others are commands
            self._outputs[recorded.topic].publish(recorded.data)
        self._sent += 1

    def _play(self) -> None:
        try:
            self._await_listeners()
            if self._commands is not None:
                self._commands.begin(self._player.now_ns())
            while self._player.play(self._send) and self.parameters.loop and not self._closed:
                self._player = self._new_player(self._player.lateness)
            self._rest()
            self._tell_end()
        except VlaRosError as error:
            self.broken = error
            return
        if not self._closed:
            threading.Event().wait(MATCH_S)  # what was sent last is still on its way
            signal.raise_signal(signal.SIGTERM)  # the main thread ends it: a timer of its executor may be publishing

    def _rest(self) -> None:
        """The robot comes to the end of what was commanded, and stands."""
        if self._commands is None or self._closed:
            return
        if not self._fault:
            threading.Event().wait(MATCH_S)
        self._commands.stop("the recording is over")
        while not self._commands.at_rest:
            time.sleep(0.01)
        if self._fault:
            raise VlaRosError(f"the commands were stopped: {self._fault}")

    def _await_listeners(self) -> None:
        """Wait until every topic has one, but not for long; DDS finds them one after the other."""
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
    reliability = ReliabilityPolicy.RELIABLE if topic.reliable else ReliabilityPolicy.BEST_EFFORT
    durability = DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE
    return QoSProfile(depth=DEPTH, reliability=reliability, durability=durability)


def main() -> None:
    """Entry point."""
    spin(ReplayNode)


if __name__ == "__main__":
    main()
