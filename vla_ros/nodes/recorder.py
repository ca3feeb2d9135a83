"""The recorder: what the robot sees, is told and does, as one rosbag. It can end; nothing else does because of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_ros.bags.contract_topics import CLOCK_TOPIC, IN_NAMESPACE, PREDICTIONS, contract_topics
from vla_ros.bags.episodes.marks import EPISODE, mark_text
from vla_ros.bags.naming import CONTRACT_TOPICS, STRING, absolute, names_text
from vla_ros.bags.qos import qos_of
from vla_ros.bags.reading.reader import BagError
from vla_ros.bags.recording import Figures, Recording
from vla_ros.bags.writer import Channel, Format, fresh_path
from vla_ros.core.robot import RobotSpec, load_robot
from vla_ros.ros.convert import serialize
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report
from vla_ros.ros.discovery import Offered
from vla_ros.ros.listening.overheard import Overheard, Wanted
from vla_ros.ros.parameters import declare, parameter
from vla_ros.ros.process.lifecycle import ManagedNode, spin
from vla_ros.ros.qos import LATCHED

LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Parameters:
    """The recorder's parameters."""

    robot: str = parameter("ur5e_tabletop", "robot contract: a YAML file, or a name in config/robots")
    out: str = parameter("bags", "folder for the bags; each is named after the time")
    bag: str = parameter("", "the bag's own path, if it should not be named after the time")
    storage: str = parameter("mcap", "mcap or sqlite3")
    compress: bool = parameter(False, "zstd, for mcap")
    split_mb: float = parameter(0.0, "a new file after that many MB; 0: never", low=0.0, high=1e6)
    split_s: float = parameter(0.0, "a new file after that many seconds; 0: never", low=0.0, high=1e6)
    min_free_mb: float = parameter(1000.0, "end recording if the disk has less left [MB]", low=0.0, high=1e9)
    topics: str = parameter("", "more topics, separated by blanks")
    record_on_start: bool = parameter(True, "record from activation on; false waits for ~/start")
    autostart: bool = parameter(True, "configure and activate without a lifecycle manager")


class RecorderNode(ManagedNode):
    """Subscriptions as bytes, services, and a `Recording`, which does the work in a thread of its own."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self.parameters = declare(self, Parameters)
        self._recording: Recording | None = None
        self._last: Figures | None = None
        self._missing = ""  # what the last recording lacks
        self._heard: Overheard | None = None
        self._other_names: dict[str, str] = {}
        self._timer: Any = None

    def configure(self) -> None:
        """Read the contract; make the services."""
        said = self.parameters
        robot = load_robot(said.robot)
        self._wanted = _wanted(robot, said.topics.split())
        self._form = Format(said.storage, said.compress, said.split_mb, said.split_s)  # type: ignore[arg-type]
        self._marks = self.own(self.create_publisher(String, EPISODE, LATCHED))
        self.own(Diagnostics(self, self._report, robot.name))
        for name, handler in (
            ("start", self._on_start),
            ("stop", self._on_stop),
            ("begin_episode", self._marks_episode("start", None)),
            ("end_success", self._marks_episode("end", True)),
            ("end_failure", self._marks_episode("end", False)),
        ):
            self.own(self.create_service(Trigger, f"~/{name}", handler))

    def activate(self) -> None:
        """Listen; record at once if the parameters say so."""
        if self.parameters.record_on_start:
            self._begin()
        self._timer = self.create_timer(LOOK_EVERY_S, self._look)

    def deactivate(self) -> None:
        """Complete the bag."""
        self._end()
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None

    def _begin(self) -> Path:
        path = Path(self.parameters.bag) if self.parameters.bag else fresh_path(self.parameters.out)
        recording = self._recording = Recording(path, self._form, self.parameters.min_free_mb, self._ended)
        self._missing = ""
        found, write = partial(self._found, recording), lambda name, data: recording.write(name, self._now_ns(), data)
        self._heard = Overheard(self, self._wanted, PREDICTIONS, found, write)
        names = {absolute(topic): name for topic, name in self._heard.names().items() if not topic.startswith("~")}
        self._other_names = {topic: name for topic, name in names.items() if topic != name}
        self._look()
        self.get_logger().info(f"recording to {path}")
        return path

    def _end(self) -> Figures | None:
        recording, self._recording = self._recording, None
        heard, self._heard = self._heard, None
        if heard is not None:
            heard.close()
        if recording is not None:
            figures = self._last = recording.close()
            unheard = heard.unheard() if heard is not None else []
            self._missing = f"; no message on {', '.join(unheard)}" if unheard else ""
            said = f"recorded {figures.path}: {figures.messages} messages in {figures.seconds:.1f} s{self._missing}"
            if unheard:
                self.get_logger().warning(said)
            else:
                self.get_logger().info(said)
        return self._last

    def _ended(self, problem: str) -> None:
        """In the recording's thread."""
        self.get_logger().error(f"recording ended: {problem}")

    def _look(self) -> None:
        """Subscribe to what is wanted as soon as somebody publishes it, as it is published."""
        if self._heard is not None:
            self._heard.look()

    def _found(self, recording: Recording, name: str, known: Offered) -> None:
        """Before a topic's first message; before that of all, which topic is which of the contract."""
        if self._other_names:
            recording.add(Channel(CONTRACT_TOPICS, STRING))
            recording.write(CONTRACT_TOPICS, self._now_ns(), serialize(String(data=names_text(self._other_names))))
            self._other_names = {}
        recording.add(Channel(name, known.type, tuple(map(qos_of, known.qos)), known.type_hash))

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._recording is not None or self._timer is None:
            response.message = "not active" if self._timer is None else "already recording"
            return response
        try:
            response.success, response.message = True, str(self._begin())
        except (BagError, OSError) as error:
            response.success, response.message = False, str(error)
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        figures = self._end() if self._recording is not None else None
        response.success = figures is not None
        said = f"{figures.path}: {figures.messages} messages{self._missing}" if figures else "not recording"
        response.message = said
        return response

    def _marks_episode(self, event: str, success: bool | None) -> Any:
        def on_mark(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            self._marks.publish(String(data=mark_text(event, success)))
            response.success, response.message = self._recording is not None, event
            return response

        return on_mark

    def _report(self) -> Report:
        if self._recording is None or self._heard is None:
            level = WARN if self._missing else OK
            return Report(level, f"recorded {self._last.path}{self._missing}" if self._last else "not recording")
        figures = self._recording.figures()
        values: dict[str, object] = {
            "messages": figures.messages,
            "dropped": figures.dropped,
            "MB": figures.megabytes,
            "MB/s": figures.megabytes / max(figures.seconds, 1e-3),
            **figures.counts,
        }
        if figures.problem:
            return Report(ERROR, f"recording ended: {figures.problem}", values)
        troubles = self._heard.troubles()
        if figures.dropped:
            troubles.append(f"{figures.dropped} messages dropped: the disk is too slow")
        return Report(WARN if troubles else OK, "; ".join([f"recording {figures.path}", *troubles]), values)


def _wanted(robot: RobotSpec, more: list[str]) -> list[Wanted]:
    """The contract's topics, those of the nodes, and those that were asked for."""
    steady = {*contract_topics(robot)} - {robot.instruction_topic} - {spec.topic for spec, _ in robot.outputs}
    found = [
        Wanted(topic, kind, needed=True, steady=topic in steady, rare=topic == robot.instruction_topic)
        for topic, kind in contract_topics(robot).items()
    ]
    found += [Wanted(EPISODE, STRING, rare=True), Wanted(CLOCK_TOPIC), *map(Wanted, IN_NAMESPACE)]
    return found + [Wanted(topic, needed=True) for topic in more]


def main() -> None:
    """Entry point."""
    spin(RecorderNode)


if __name__ == "__main__":
    main()
