"""Makes a robot repeat recorded commands, under the same guard and limits as a plan, and alone on its topics."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty

from vla_ros.core.errors import MessageError, VlaRosError
from vla_ros.core.execution.commander import Commander
from vla_ros.core.execution.guard import Mode, Verdict
from vla_ros.core.execution.limits import Positions
from vla_ros.core.execution.recorded_motion import RecordedMotion
from vla_ros.core.printable import printable
from vla_ros.core.robot import RobotSpec
from vla_ros.core.types import NS_PER_S
from vla_ros.ros.convert import COMMAND_TYPES, command_message, joint_state_to_array, to_ns
from vla_ros.ros.process.control_loop import ControlLoop
from vla_ros.ros.process.lifecycle import ManagedNode
from vla_ros.ros.qos import COMMAND, SENSOR, actuation

READY_S = 3.0  # for joint states to come, and to be believed
REST_S = 0.6  # for a stop within the limits
_PLAN_EVERY_S, _LOOK_EVERY_S = 0.1, 1.0


class CommandPlayer:
    """Publishers, joint states and a control loop around `core.execution.commander.Commander`.

    moment: which moment of the recording it is now [ns]; None while it does not run.
    ended: called once, with the reason, where the guard stopped the robot.
    """

    def __init__(
        self,
        node: ManagedNode,
        robot: RobotSpec,
        motion: RecordedMotion,
        rate: float,
        moment: Callable[[], int | None],
        ended: Callable[[str], None],
    ) -> None:
        self._node, self._robot, self._motion, self._rate = node, robot, motion, rate
        self._moment, self._ended = moment, ended
        self._commander = Commander(robot)
        self._lock = threading.RLock()  # over the commander: joint states come in the executor's thread
        self._measured: Positions | None = None
        self._period_ns = round(NS_PER_S / robot.command.rate_hz)
        self._planned_s = self._looked_s = 0.0
        self._loop: ControlLoop | None = None
        self._over = False
        self._rests_s = math.inf  # when what moves has come to rest
        self._outputs = [
            (
                spec,
                [robot.joint_names[k] for k in columns],
                np.array(columns, dtype=np.intp),
                node.create_publisher(COMMAND_TYPES[spec.type], spec.topic, actuation(robot.command.rate_hz)),
            )
            for spec, columns in robot.outputs
        ]
        node.create_subscription(JointState, robot.joint_states_topic, self._on_joint_state, SENSOR)
        for quality in (COMMAND, SENSOR):  # reliable publishers are heard twice, others once
            node.create_subscription(Empty, "stop", self._on_stop, quality)

    def begin(self, moment_ns: int) -> None:
        """Arm where the recording is to begin. VlaRosError where the robot is not there, or is not ready, or is
        commanded by somebody else.
        """
        end_s, refusal = time.monotonic() + READY_S, "no joint states"
        while time.monotonic() < end_s and not self._over:
            with self._lock:
                refusal = self._rivals() or self._elsewhere(moment_ns) or self._commander.arm(self._now_ns()) or ""
                if not refusal and not self._over:
                    self._loop = ControlLoop(self._node, self._period_ns / NS_PER_S, self._step)
                    return
            time.sleep(0.05)
        raise VlaRosError(f"the commands are not replayed: {'ended before they began' if self._over else refusal}")

    def stop(self, reason: str) -> None:
        """Begin to come to rest, within the limits."""
        with self._lock:
            self._over = True
            if self._loop is not None and self._rests_s == math.inf:
                self._rests_s = time.monotonic() + REST_S
                self._commander.stop(reason)

    @property
    def at_rest(self) -> bool:
        """Whether nothing moves any more: never begun, or stopped long enough ago."""
        return self._loop is None or time.monotonic() >= self._rests_s

    def close(self) -> None:
        """Come to rest, then send nothing more."""
        self.stop("the replay ends")
        while not self.at_rest:
            time.sleep(0.01)
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def _on_joint_state(self, message: JointState) -> None:
        try:
            positions = joint_state_to_array(message, self._robot.joint_names)
        except MessageError:
            return
        with self._lock:
            if self._commander.on_state(to_ns(message.header.stamp), positions, self._now_ns()) is None:
                self._measured = positions

    def _on_stop(self, _: Empty) -> None:
        with self._lock:
            self._over = self._over or self._loop is None  # what has not begun does not
            self._commander.stop("stop requested on the stop topic")  # the next step says so

    def _elsewhere(self, moment_ns: int) -> str | None:
        if self._measured is None:
            return f"no joint states on {self._robot.joint_states_topic}"
        far = self._commander.guard.limits.lags(self._motion.at(moment_ns), self._measured)
        return far and f"the robot is not where they begin: {far.split(': ')[0]}; bring it there first"

    def _rivals(self) -> str | None:
        """Return what else commands the robot. Names are compared resolved: the graph does not remap."""
        own = Counter(publisher.topic_name for *_, publisher in self._outputs)
        for topic, count in own.items():
            if self._node.count_publishers(topic) > count:
                names = {one.node_name for one in self._node.get_publishers_info_by_topic(topic)}
                others = ", ".join(sorted(map(printable, names - {self._node.get_name()}))) or "another replay"
                return f"{others} publishes on {topic}, too; a robot has one commander"
        return None

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _step(self) -> None:
        now_s, now_ns = time.monotonic(), self._now_ns()
        with self._lock:
            if now_s - self._looked_s >= _LOOK_EVERY_S:
                self._looked_s = now_s
                if rival := self._rivals():
                    self._commander.stop(rival)
            moment_ns = self._moment()
            if moment_ns is not None and self._rests_s == math.inf and now_s - self._planned_s >= _PLAN_EVERY_S:
                self._planned_s = now_s
                self._commander.on_chunk(self._motion.plan(moment_ns, now_ns, self._rate), now_ns)
            verdict = self._commander.tick(now_ns)
        self._publish(verdict)
        if verdict.mode is Mode.FAULT and self._rests_s == math.inf:
            self._rests_s = now_s + REST_S
            self._ended(verdict.reason)

    def _publish(self, verdict: Verdict) -> None:
        if verdict.command is None or verdict.moment_ns is None:
            return
        for spec, names, columns, publisher in self._outputs:
            message = command_message(spec.type, names, verdict.command[columns], verdict.moment_ns, self._period_ns)
            publisher.publish(message)
