"""The demo's conductor: gives instructions, resets the simulator between them, measures, and shows the results."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from vla_ros.bags.episodes.marks import EPISODE, mark_text
from vla_ros.core.errors import MessageError, VlaRosError
from vla_ros.monitor.demo import report
from vla_ros.monitor.demo.series import Settings, conduct, planned_episodes
from vla_ros.monitor.latency import ChunkLatency, TimingLog
from vla_ros.ros.chunk_timing import listen_timing
from vla_ros.ros.clients import ServiceCaller
from vla_ros.ros.convert import to_ns
from vla_ros.ros.diagnostics import node_of
from vla_ros.ros.images import image_to_array
from vla_ros.ros.parameters import declare, parameter
from vla_ros.ros.process.spinning import spinning
from vla_ros.ros.process.starting import start_ros
from vla_ros.ros.qos import EVENTS, LATCHED, SENSOR
from vla_ros.sim.tabletop.tasks import TASKS, instruction_to_task, wordings

FRAMES_KEPT = 1200
SUCCESS_SETTLE_S = 0.25  # longer than a message sent before a reset can still be on its way
STOP_TIMEOUT_S, STOP_TRIES = 1.5, 3
READY_TIMEOUT_S = 1.0  # a node that loads a model does not answer meanwhile
ABSENT_S = 25.0
USER_ERROR = 2


@dataclass(frozen=True, slots=True)
class Parameters:
    """The demo's parameters; `vla_ros.monitor.demo.series.Settings` says what they mean together."""

    instruction: str = parameter("", "one sentence to obey; empty runs the series")
    series: str = parameter("tour", "tour: every task once; random: the episodes of vla-ros eval, without pictures")
    episodes: int = parameter(0, "number of episodes; 0 means the whole tour, or one", low=0, high=100_000)
    seed: int = parameter(20000, "seed of the first episode; each next one adds one", low=0, high=2**30)
    time_limit_s: float = parameter(12.0, "seconds of an episode after which it has failed", low=0.1, high=600.0)
    out: str = parameter("out/demo", "folder for report.json and the pictures")


class DemoNode(Node):
    """The graph as the conductor sees it (`vla_ros.monitor.demo.conductor.Graph`)."""

    def __init__(self) -> None:
        super().__init__("demo")
        values = asdict(declare(self, Parameters))
        self.settings = Settings(**{**values, "out": Path(values["out"])})
        self._calls = ServiceCaller(self, triggers=("sim/reset", "commander/arm", "commander/stop"))
        self._frames: deque[NDArray[np.uint8]] = deque(maxlen=FRAMES_KEPT)
        self._timing = TimingLog()
        self._started_s = self.now_s()
        self._success: bool | None = None
        self._fault: str | None = None
        self._task = ""
        self._reset_s, self._instructed_ns, self._armed_ns = 0.0, 0, 0
        self._instruction = self.create_publisher(String, "instruction", LATCHED)
        self._marks, self._under_way = self.create_publisher(String, EPISODE, LATCHED), False
        self.create_subscription(Bool, "sim/success", self._on_success, 10)
        listen_timing(self, self._timing)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, EVENTS)
        if self.settings.pictures:
            self.create_subscription(Image, "overview/image_raw", self._on_frame, SENSOR)

    def now_s(self) -> float:
        """Return the steady time [s]."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Sleep. Raises ExternalShutdownException after a shutdown."""
        if not self.context.ok():
            raise ExternalShutdownException
        time.sleep(seconds)

    def ready(self) -> str | None:
        """Return what is missing, or None if the series can begin."""
        for name in ("policy", "commander"):
            if not self._calls.is_active(name, READY_TIMEOUT_S):
                self._refuse_absence(name)
                return f"node {name} is not active"
        return None if self._calls.is_there(Trigger, "sim/reset") else "service sim/reset is not there"

    def _refuse_absence(self, name: str) -> None:
        absent = name not in self.get_node_names()
        if absent and self.now_s() - self._started_s > ABSENT_S:
            raise VlaRosError(f"waited {ABSENT_S:g} s; node {name} is not there. If it ended, its own lines say why")

    def reset(self, seed: int, task: str) -> None:
        """Reset the simulator. Raises VlaRosError if it refuses."""
        self._calls.set_parameters("sim", {"seed": seed, "task": task})
        done, message = self._calls.trigger("sim/reset")
        if not done:
            raise VlaRosError(f"sim/reset with seed {seed} and task '{task}': {message}")
        self._success, self._reset_s, self._task = None, self.now_s(), task

    def instruct(self, sentence: str) -> None:
        """Give an instruction."""
        self._instruction.publish(String(data=sentence))
        self._instructed_ns = self.get_clock().now().nanoseconds

    def has_answered(self) -> bool:
        """Return whether a chunk has come since the instruction."""
        return self._timing.newest_stamp_ns > self._instructed_ns

    def arm(self) -> str | None:
        """Arm the commander. Returns why it is not armed, or None."""
        if not self._calls.is_active("commander"):
            self._calls.change_state("commander", Transition.TRANSITION_ACTIVATE)
        self._fault, self._armed_ns = None, self.get_clock().now().nanoseconds
        done, message = self._calls.trigger("commander/arm")
        if done:  # for whoever records this
            self._marks.publish(String(data=mark_text("start")))
            self._under_way = True
        return None if done else message

    def stop(self) -> None:
        """Stop and deactivate the commander: one that is active holds where it stopped, against the next reset."""
        self._ask_to_stop()
        if self._under_way:
            self._marks.publish(String(data=mark_text("end", self._success if self._task else None)))
            self._under_way = False
        if self._calls.is_active("commander", STOP_TIMEOUT_S):
            self._calls.change_state("commander", Transition.TRANSITION_DEACTIVATE)

    def _ask_to_stop(self) -> None:
        for left in reversed(range(STOP_TRIES)):  # stopping twice is harmless, and a busy machine loses an answer
            try:
                self._calls.trigger("commander/stop", STOP_TIMEOUT_S)
                return
            except VlaRosError:
                if not left or not self._calls.is_there(Trigger, "commander/stop"):
                    raise

    def success(self) -> bool | None:
        """Return whether the task succeeded; None before the simulator says."""
        return self._success

    def fault(self) -> str | None:
        """Return the commander's fault since it was armed, or None."""
        return self._fault

    def take_chunks(self) -> tuple[ChunkLatency, ...]:
        """Return the latencies of the chunks since the last call."""
        return self._timing.take()

    def take_frames(self) -> list[NDArray[np.uint8]]:
        """Return the pictures since the last call."""
        return [self._frames.popleft() for _ in range(len(self._frames))]

    def _on_success(self, message: Bool) -> None:
        if self.now_s() - self._reset_s > SUCCESS_SETTLE_S:
            self._success = message.data

    def _on_frame(self, message: Image) -> None:
        with contextlib.suppress(MessageError):  # a broken picture is no reason to end with the robot armed
            self._frames.append(image_to_array(message).copy())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            fresh = to_ns(message.header.stamp) > self._armed_ns
            who = node_of(status, self.get_namespace())
            if fresh and who == "commander" and status.level == DiagnosticStatus.ERROR:
                self._fault = status.message.removeprefix("fault: ")


def run(node: DemoNode) -> None:
    """Run the whole series; the node's executor spins in another thread meanwhile."""
    asked = instruction_to_task(node.settings.instruction)
    sentences = {name: wordings(task) for name, task in TASKS.items()}
    families = {name: task.family for name, task in TASKS.items()}
    episodes = planned_episodes(node.settings, sentences, families, asked.name if asked else "")
    results = conduct(node, episodes, node.settings)
    report.show(results, node.settings.out)


def main() -> None:
    """Entry point; exit code 0 when every episode ran, whether the robot succeeded or not."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both signals leave time to stop the commander
    code = 0
    try:
        start_ros(signal_handler_options=SignalHandlerOptions.NO)
        node = DemoNode()
        with spinning(node):
            run(node)
    except VlaRosError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        code = USER_ERROR
    except (KeyboardInterrupt, ExternalShutdownException):
        print("demo: interrupted", file=sys.stderr)
    finally:
        rclpy.try_shutdown()
    sys.exit(code)


if __name__ == "__main__":
    main()
