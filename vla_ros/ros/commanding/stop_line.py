"""A line to the commander for a person's STOP: a node, an executor and a thread of its own, so that it never queues.

The stop is a message on the topic `stop` and then a call of the commander's services. The message is out when `halt`
returns; it needs nobody's answer, and no thread but the caller's.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.node import Node
from std_msgs.msg import Empty
from std_srvs.srv import SetBool, Trigger

from vla_ros.ros.process.spinning import spinning
from vla_ros.ros.qos import COMMAND

ARM_S, RELEASE_S, POLL_S = 1.0, 0.5, 0.01
LATE_KEPT = 16
_Late = Callable[[Any], None]


class StopLine:
    """Stop, lock out, arm and release through the commander beside `beside`, in its namespace and under its remaps.

    Thread-safe. No argument of the command line reaches the node itself, which would then be named as `beside` is.
    """

    def __init__(self, beside: Node) -> None:
        self.node = node = Node(
            f"{beside.get_name()}_stop",
            context=beside.context,
            namespace=beside.get_namespace(),
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        topic, service = beside.resolve_topic_name, beside.resolve_service_name
        self._stop_topic = node.create_publisher(Empty, topic("stop"), COMMAND)
        self._alive_topic = node.create_publisher(Empty, topic("alive"), COMMAND)
        self._stop = node.create_client(Trigger, service("commander/stop"))
        self._arm = node.create_client(Trigger, service("commander/arm"))
        self._lock_out = node.create_client(SetBool, service("commander/lock_out"))
        self._order = threading.Lock()  # a release that was cancelled must not follow the lock-out
        self._late: deque[Any] = deque()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Receive answers while inside."""
        with spinning(self.node, self.node.context):
            yield

    def halt(self) -> None:
        """Send the stop; returns at once."""
        self._stop_topic.publish(Empty())

    def alive(self) -> None:
        """Say that a person watches; returns at once."""
        self._alive_topic.publish(Empty())

    def confirm(self, timeout_s: float) -> tuple[bool, str]:
        """Ask the commander to stop and to lock arming out; whether it said so in time, and what to know."""
        with self._order:
            locked = _Call(self._lock_out, SetBool.Request(data=True))
            stopped = _Call(self._stop, Trigger.Request())
        deadline_s = time.monotonic() + timeout_s
        answers = [call.answer(deadline_s) for call in (stopped, locked) if call.sent]
        if any(answer is not None and answer.success for answer in answers):
            return True, ""
        if answers:
            return False, f"STOP was sent; the commander has not confirmed it within {timeout_s:g} s: watch the robot"
        if self._stop_topic.get_subscription_count():
            return False, "STOP was sent; nobody confirms it: watch the robot"
        return False, "nobody hears STOP: press the emergency stop of the robot"

    def arm(self, cancelled: threading.Event) -> tuple[bool, str]:
        """Arm; return whether the commander is armed now, and why not. One that arms too late is stopped again."""
        return self._ask(self._arm, Trigger.Request(), cancelled, ARM_S, self._undo)

    def release(self, cancelled: threading.Event) -> tuple[bool, str]:
        """End the commander's lock-out, where it knows one."""
        if not self._lock_out.service_is_ready():
            return True, ""
        return self._ask(self._lock_out, SetBool.Request(data=False), cancelled, RELEASE_S, None)

    def _ask(
        self,
        client: Any,
        request: Any,
        cancelled: threading.Event,
        timeout_s: float,
        late: _Late | None,
    ) -> tuple[bool, str]:
        deadline_s = time.monotonic() + timeout_s
        while not client.service_is_ready():
            if cancelled.wait(POLL_S) or time.monotonic() > deadline_s:
                return False, f"{client.srv_name}: nobody offers this service"
        with self._order:
            call = _Call(client, request) if not cancelled.is_set() else None
        if call is None:
            return False, "cancelled by STOP"
        answer = call.answer(deadline_s)
        if answer is not None:
            return bool(answer.success), str(answer.message)
        if late is not None:
            self._await_late(client, call, late)
        return False, f"{client.srv_name}: no answer within {timeout_s:g} s"

    def _await_late(self, client: Any, call: _Call, late: _Late) -> None:
        call.future.add_done_callback(late)
        self._late.append(call.future)
        while len(self._late) > LATE_KEPT:
            client.remove_pending_request(self._late.popleft())

    def _undo(self, future: Any) -> None:
        answer = future.result()
        if answer is not None and answer.success:  # a person was told that it is not armed
            self.halt()


class _Call:
    """A question to a service, where somebody offers it."""

    def __init__(self, client: Any, request: Any) -> None:
        self._answered = threading.Event()
        self.sent = bool(client.service_is_ready())
        if self.sent:
            self.future = client.call_async(request)
            self.future.add_done_callback(lambda _: self._answered.set())

    def answer(self, deadline_s: float) -> Any | None:
        """Return the answer, or None if none came in time."""
        if not self.sent or not self._answered.wait(max(0.0, deadline_s - time.monotonic())):
            return None
        return self.future.result()
