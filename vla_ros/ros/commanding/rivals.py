"""Others that want what the commander wants, or say what its robot says: on its command topics, beside the policy, and
on the topic of joint states. Names are compared resolved: rclpy's own graph queries do not remap.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vla_ros.core.robot import RobotSpec
from vla_ros.core.text import listed
from vla_ros.ros.commanding.aside import Aside
from vla_ros.ros.commanding.talkers import Talkers
from vla_ros.ros.convert import joints_named
from vla_ros.ros.qos import CROWD

UNKNOWN = "_NODE_NAME_UNKNOWN_"  # rmw's word for it
LISTEN_S = 1.0  # until it is known who talks
BREATH_S = 0.002  # between two messages: a flood must not take the control loop's time


class Crowd:
    """One topic: as long as it has several publishers, listens to find out who says what.

    topic: as others see it. what: what a publisher must be alone with, for messages.
    keys: the keys that a message names, for example joints; two publishers may name different ones.
    """

    def __init__(
        self, node: Node, aside: Aside, topic: str, kind: Any, what: str, keys: Callable[[Any], Iterable[str]]
    ) -> None:
        self._node, self._aside, self.topic, self._kind, self._what = node, aside, topic, kind, what
        self._keys = keys
        self._talkers, self._subscription, self._since_s = Talkers(), None, 0.0
        self._lock = threading.Lock()  # it hears in another thread than it is asked, and is asked by two

    def look(self) -> None:
        """Listen, or cease to; call now and then."""
        several = self._node.count_publishers(self.topic) > 1
        with self._lock:
            if several and self._subscription is None:
                self._talkers, self._since_s = Talkers(), time.monotonic()
                self._subscription = self._aside.listen(self._kind, self.topic, self._heard, CROWD)
            elif not several and self._subscription is not None:
                self._aside.forget(self._subscription)
                self._subscription = None

    def rivalry(self) -> str | None:
        """Return what is published twice, and by which nodes, or None."""
        with self._lock:
            key = None if self._subscription is None else self._talkers.doubled(time.monotonic())
        if key is None:
            return None
        what = self._what.format(key)
        return f"several publishers of {what} on {self.topic} (publishers: {publishers(self._node, self.topic)})"

    def refusal(self) -> str | None:
        """Return why nobody should arm now."""
        self.look()
        if self._subscription is not None and time.monotonic() < self._since_s + LISTEN_S:
            return f"several publishers on {self.topic}; finding out who says what, ask again in a second"
        return self.rivalry()

    def _heard(self, message: Any, info: Any) -> None:
        with self._lock:
            self._talkers.heard(info, self._keys(message), time.monotonic())
        time.sleep(BREATH_S)


class Rivals:
    """All of a commander's rivals. commands: its command topics, resolved, one a publisher of its own; none in dry-run.

    crowds: topics where two publishers must not say the same thing. armed: those where that stops an armed robot; of
        two that say where it is, the guard notices where they disagree.
    """

    def __init__(self, node: Node, commands: Sequence[str], crowds: Sequence[Crowd], armed: Sequence[Crowd]) -> None:
        self._node, self._commands, self._crowds, self._armed = node, Counter(commands), crowds, armed

    def refusal(self) -> str | None:
        """Return why nobody should arm now; None where nothing is in the way."""
        return self._on_commands() or _first(crowd.refusal() for crowd in self._crowds)

    def look(self) -> str | None:
        """Return why an armed robot should stop; call once or twice a second."""
        for crowd in self._crowds:
            crowd.look()
        return self._on_commands() or _first(crowd.rivalry() for crowd in self._armed)

    def _on_commands(self) -> str | None:
        for topic, own in self._commands.items():
            if (count := self._node.count_publishers(topic)) > own:
                who = publishers(self._node, topic)
                return f"{count} publishers on {topic} ({who}); this commander must be alone there"
        return None


def rivals_of(node: Node, aside: Aside, robot: RobotSpec, commands: Sequence[str]) -> Rivals:
    """Return the rivals of a robot's commander `node`: for its `commands`, plans and joint states."""
    plans = Crowd(node, aside, node.resolve_topic_name("action_chunk"), JointTrajectory, "plans", lambda _: ("plans",))
    if robot.several_joint_state_publishers:
        return Rivals(node, commands, [plans], armed=[plans])
    topic, names = node.resolve_topic_name(robot.joint_states_topic), robot.joint_names
    states = Crowd(node, aside, topic, JointState, "{}", lambda message: joints_named(message, names))
    return Rivals(node, commands, [plans, states], armed=[plans])


def publishers(node: Node, topic: str) -> str:
    """Return the names of the nodes that publish on a resolved topic."""
    return listed([_name(one) for one in node.get_publishers_info_by_topic(topic)])


def _name(publisher: Any) -> str:
    if publisher.node_name == UNKNOWN:
        return "a node that has not told its name"
    return f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name}"


def _first(reasons: Iterable[str | None]) -> str | None:
    return next((reason for reason in reasons if reason is not None), None)
