"""Calling other nodes from a thread that does not spin: services, parameters, lifecycle states, with clear failures."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger

from vla_ros.core.errors import VlaRosError

POLL_S = 0.002


class ServiceCaller:
    """Blocking calls for a node whose executor spins in another thread.

    timeout_s: of a call, where it says none. A request that was lost on its way is not sent again after it: a
        commander that wakes must not do what its caller was told had failed (see `arm_requests`).
    triggers: Trigger services to meet at once. On a busy machine the first call of a client that is new may get no
    answer, as the two ends do not find each other at the same moment.
    """

    def __init__(self, node: Node, timeout_s: float = 5.0, triggers: Iterable[str] = ()) -> None:
        self._node = node
        self._timeout_s = timeout_s
        self._qos = QoSProfile(depth=10, lifespan=Duration(seconds=timeout_s))
        self._clients: dict[str, Any] = {}
        for name in triggers:
            self._client(Trigger, name)

    def trigger(self, service: str, timeout_s: float | None = None) -> tuple[bool, str]:
        """Call a std_srvs/Trigger; its success and message."""
        response = self._call(Trigger, service, Trigger.Request(), timeout_s)
        return bool(response.success), str(response.message)

    def set_parameters(self, node: str, values: Mapping[str, int | float | str | bool]) -> None:
        """Set parameters of another node, all of them or an error with the node's reason."""
        request = SetParameters.Request()
        request.parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        results = self._call(SetParameters, f"{node}/set_parameters", request).results
        for name, result in zip(values, results, strict=True):
            if not result.successful:
                raise VlaRosError(f"{node}: parameter '{name}' = {values[name]!r} was refused: {result.reason}")

    def is_active(self, node: str, timeout_s: float | None = None) -> bool:
        """Return whether a managed node is there, answers, and is active."""
        if not self.is_there(GetState, f"{node}/get_state"):
            return False
        try:
            response = self._call(GetState, f"{node}/get_state", GetState.Request(), timeout_s)
        except VlaRosError:
            return False  # busy: a node that loads its model answers nobody meanwhile
        return bool(response.current_state.id == State.PRIMARY_STATE_ACTIVE)

    def change_state(self, node: str, transition: int) -> bool:
        """Ask a managed node for a transition (`lifecycle_msgs.msg.Transition`); whether it went through."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self._call(ChangeState, f"{node}/change_state", request).success)

    def is_there(self, service_type: Any, service: str) -> bool:
        """Return whether somebody serves `service`."""
        return bool(self._client(service_type, service).service_is_ready())

    def _client(self, service_type: Any, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._node.create_client(service_type, service, qos_profile=self._qos)
        return self._clients[service]

    def _call(self, service_type: Any, service: str, request: Any, timeout_s: float | None = None) -> Any:
        client = self._client(service_type, service)
        timeout_s = timeout_s or self._timeout_s
        deadline = time.monotonic() + timeout_s
        while not client.service_is_ready():
            self._sleep(deadline, f"{service}: nobody offers this service")
        future = client.call_async(request)
        while not future.done():
            self._sleep(deadline, f"{service}: no answer within {timeout_s:g} s")
        return future.result()

    def _sleep(self, deadline: float, complaint: str) -> None:
        if not self._node.context.ok():
            raise ExternalShutdownException
        if time.monotonic() > deadline:
            raise VlaRosError(complaint)
        time.sleep(POLL_S)
