"""Managed nodes that start by themselves, say one clear line where they cannot, and end cleanly on a signal."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.experimental import EventsExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from vla_ros.core.errors import VlaRosError
from vla_ros.ros.process.owner import Owner
from vla_ros.ros.process.signals import signals_ask, signals_ignored, signals_interrupt, suspension_asks
from vla_ros.ros.process.starting import start_ros

__all__ = ["USER_ERROR", "ManagedNode", "signals_ask", "spin"]

T = TypeVar("T")
USER_ERROR = 2
REST_S = 1.0  # a controlled stop takes half of it; an arm that does not follow, a little more


class ManagedNode(LifecycleNode):
    """A lifecycle node whose steps are `configure`, `activate`, `deactivate` and `cleanup`.

    A VlaRosError of `configure` or `activate` becomes one line and a failed transition; `cleanup` follows if
    `configure` has failed, and must bear that only a part was made. After it all that `own` was given is removed.
    broken: an error of a thread of the node's own, which ends `spin`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.failure = ""
        self.broken: Exception | None = None
        self._owner = Owner(self)

    def own(self, thing: T) -> T:
        """Keep what `configure` makes, and remove it at cleanup, the newest first. Returns `thing`; see `Owner`."""
        return self._owner.own(thing)

    def configure(self) -> None:
        """Read what is needed; raise VlaRosError if it is wrong."""

    def activate(self) -> None:
        """Begin work."""

    def deactivate(self) -> None:
        """Stop work; nothing moves after it."""

    def wind_down(self, reason: str) -> None:
        """Begin to bring to rest what moves; the node keeps listening until `at_rest`.

        Called before a signal ends or suspends the process.
        """

    @property
    def at_rest(self) -> bool:
        """Whether nothing that this node moves is in motion, and whoever moves it has been told."""
        return True

    def cleanup(self) -> None:
        """Give back what `configure` took and nobody owns."""

    def start(self) -> None:
        """Begin with the process: configure and activate, unless the parameter `autostart` is false."""
        if self.get_parameter("autostart").value:
            self.autostart()

    def close(self) -> None:
        """End with the process, after `spin` has let the node come to rest."""
        self.deactivate()

    def autostart(self) -> None:
        """Configure and activate. Raises VlaRosError if either fails."""
        for transition in (self.trigger_configure, self.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                raise VlaRosError(self.failure or "the node did not start")

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure; give back what was made if that fails."""
        done = self._try(self.configure)
        if done != TransitionCallbackReturn.SUCCESS:
            self.give_back()
        return done

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate."""
        done = self._try(self.activate)
        return super().on_activate(state) if done == TransitionCallbackReturn.SUCCESS else done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate."""
        self.deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back."""
        self.give_back()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and clean up, from any state."""
        self.deactivate()
        self.give_back()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured after an unexpected error."""
        self.deactivate()
        self.give_back()
        return TransitionCallbackReturn.SUCCESS

    def give_back(self) -> None:
        """Clean up, and remove all that is owned."""
        self.cleanup()
        self._owner.close()

    def _try(self, step: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            step()
        except VlaRosError as error:
            self.failure = str(error)
            self.get_logger().error(self.failure)
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would swallow it without a word
            self.failure = f"{type(error).__name__}: {error}"
            self.get_logger().error(f"unexpected {traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS


def _start(node: ManagedNode) -> None:
    node.start()


def _close(node: ManagedNode) -> None:
    node.close()


def spin(make: Callable[[], Node], start: Callable[[Any], None] = _start, stop: Callable[[Any], None] = _close) -> None:
    """Run one node until SIGINT, SIGTERM, SIGHUP, SIGQUIT or `rclpy.shutdown`, then `stop` it; without `start` and
    `stop` it is a managed one. Ends the process: 0, or 2 for an error that the user can mend, said in one line. After
    any other error too the node is stopped first, and then reported. SIGTSTP suspends the process once the node is at
    rest.
    """
    signals_interrupt()
    node, executor, code = None, None, 0
    try:
        start_ros(signal_handler_options=SignalHandlerOptions.NO)  # our handlers leave time to stop the robot
        _refuse_leftover(remove_ros_args(sys.argv)[1:])
        node = make()
        start(node)
        executor = EventsExecutor()
        executor.add_node(node)
        asked = signals_ask()  # one that is raised within the executor's own code comes out of it as another error
        suspended = suspension_asks()
        while rclpy.ok() and not asked:
            executor.spin_once(timeout_sec=0.05)
            if isinstance(node, ManagedNode) and node.broken is not None:
                raise node.broken
            if suspended:
                _rest(node, executor, "the process is suspended (Ctrl-Z)")
                os.kill(os.getpid(), signal.SIGSTOP)
                suspended.clear()
        _rest(node, executor, "the process is asked to end")
    except VlaRosError as error:
        name = node.get_name() if node is not None else "vla_ros"
        print(f"{name}: error: {error}", file=sys.stderr)
        code = USER_ERROR
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        signals_ignored()  # a second Ctrl-C must not cut the stop short
        if node is not None:
            stop(node)
            node.destroy_node()
        if executor is not None:
            executor.shutdown()
        rclpy.try_shutdown()
    del node, executor
    _end(code)


def _refuse_leftover(words: Sequence[str]) -> None:
    """Refuse arguments that ROS would ignore, such as `--robot FILE` in the place of a parameter."""
    if words:
        raise VlaRosError(f"unexpected argument '{words[0]}'; parameters go after --ros-args, as in -p robot:=FILE")


def _rest(node: Node, executor: EventsExecutor, reason: str) -> None:
    """Let the node come to rest while it still hears what it measures."""
    if not isinstance(node, ManagedNode):
        return
    node.wind_down(reason)
    until_s = time.monotonic() + REST_S
    while rclpy.ok() and node.broken is None and not node.at_rest and time.monotonic() < until_s:
        executor.spin_once(timeout_sec=0.01)


def _end(code: int) -> NoReturn:
    """End at once: everything is stopped and closed, and Python's own exit takes torch apart for seconds.

    Only DDS has something to give back first: its shared memory, as soon as nothing holds the context any more.
    """
    gc.collect()
    rclpy.get_default_context().destroy()
    with suppress(OSError, ValueError):  # of a terminal that is gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
