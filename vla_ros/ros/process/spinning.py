"""Serve a node's callbacks from a thread, for programs whose main thread does something else."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from vla_ros.core.errors import VlaRosError
from vla_ros.ros.process.scheduling import stand_back_here


@contextmanager
def spinning(node: Node, context: Context | None = None, nice: int = 0) -> Iterator[None]:
    """While inside, the callbacks run; then the thread ends, and the node with it. The context must outlive that.

    An error of a callback is printed and shuts the context down, which whoever is inside has to notice: a process whose
    callbacks have ended must not stay up as if it heard. On leaving it is raised as VlaRosError.

    nice: how far the thread stands back behind others, those of its own process too.
    """
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    failures: list[Exception] = []
    leaving = threading.Event()

    def spin() -> None:
        stand_back_here(nice)
        try:
            executor.spin()
        except ExternalShutdownException:
            return  # who shut the context down knows it
        except Exception as error:
            if leaving.is_set():
                return  # of an executor that is being taken apart
            traceback.print_exc()
            failures.append(error)
            node.context.try_shutdown()

    thread = threading.Thread(target=spin, name=f"spin {node.get_name()}")
    thread.start()
    try:
        yield
    finally:
        leaving.set()
        executor.shutdown()
        thread.join()
        node.destroy_node()
        if failures:
            raise VlaRosError(f"a callback failed: {failures[0]!r}")
