"""Serve a node's callbacks from a thread, for programs whose main thread does something else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node


@contextmanager
def spinning(node: Node, context: Context | None = None) -> Iterator[None]:
    """While inside, the callbacks run; then the thread ends, and the node with it. The context must outlive that."""
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, name="spin")
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join()
        node.destroy_node()
