"""Calls of other nodes: what its caller was told had failed is not done later."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from vla_ros.core.errors import VlaRosError
from vla_ros.ros.clients import ServiceCaller
from vla_ros.ros.spinning import spinning

pytestmark = pytest.mark.live


@pytest.fixture
def server(rclpy_context: object) -> Iterator[Node]:
    node = rclpy.create_node("server")
    yield node
    node.destroy_node()


def test_a_request_that_its_caller_gave_up_is_not_served(server: Node) -> None:
    served: list[float] = []

    def serve(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        served.append(time.monotonic())
        response.success = True
        return response

    server.create_service(Trigger, "arm", serve)
    executor = SingleThreadedExecutor()
    executor.add_node(server)
    caller = rclpy.create_node("caller")
    with spinning(caller):
        calls = ServiceCaller(caller, 0.5, ("arm",))
        with pytest.raises(VlaRosError, match=r"no answer within 0\.5 s"):
            calls.trigger("arm")  # nobody spins the server
        time.sleep(0.2)
        until_s = time.monotonic() + 1.0
        while time.monotonic() < until_s:
            executor.spin_once(timeout_sec=0.05)
        assert served == []
        client = caller.create_client(Trigger, "arm")  # and one in time is
        while not client.service_is_ready():
            time.sleep(0.01)
        future = client.call_async(Trigger.Request())
        until_s = time.monotonic() + 5.0
        while not future.done() and time.monotonic() < until_s:
            executor.spin_once(timeout_sec=0.05)
        assert future.result().success and len(served) == 1
