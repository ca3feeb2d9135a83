"""A second participant of DDS beside a node: Fast DDS gives a participant one type a topic, and rclpy's events executor
has no callbacks that are told who sent a message (rclpy 9.1.2: SystemError).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

from vla_ros.ros.qos import quietly


class Aside:
    """Subscriptions whose callbacks run in a thread of their own. failed: called where one raises; none runs then."""

    def __init__(self, node: Node, failed: Callable[[Exception], None]) -> None:
        self._failed, self._context = failed, Context()
        domain = node.context.get_domain_id()
        rclpy.init(context=self._context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node(
            f"_{node.get_name()}_aside",
            namespace=node.get_namespace(),
            context=self._context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._run, name="aside", daemon=True)
        self._thread.start()

    def listen(self, kind: Any, topic: str, callback: Callable[..., None], qos: QoSProfile) -> Any:
        """Subscribe to a resolved topic; a callback of two arguments gets the message's info, too. See `forget`."""
        return self._node.create_subscription(kind, topic, callback, qos, event_callbacks=quietly())

    def forget(self, subscription: Any) -> None:
        """Listen no longer."""
        self._node.destroy_subscription(subscription)

    def close(self) -> None:
        """Leave the domain; no callback runs afterwards."""
        self._context.try_shutdown()
        self._thread.join(1.0)
        self._executor.shutdown(0.0)
        self._node.destroy_node()
        self._context.destroy()

    def _run(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return
        except Exception as error:
            self._failed(error)
