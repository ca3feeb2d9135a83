"""What nodes that observe share: a robot and a model that fit each other, the robot's inputs, and one owner for it all.

An `ObservingNode` is the lifecycle; everything that exists from configure to cleanup is in its `Session`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from rclpy.qos import QoSProfile
from rclpy.service import Service

from vla_ros.core.contract import PolicyContract, check_contract
from vla_ros.core.errors import VlaRosError
from vla_ros.core.robot import load_robot
from vla_ros.core.streams.synchroniser import Synchroniser
from vla_ros.ros.diagnostics import Diagnostics, Report
from vla_ros.ros.listening.everyone import Heard
from vla_ros.ros.parameters import ModelParameters, declare
from vla_ros.ros.process.clock_watch import on_clock_jump
from vla_ros.ros.process.lifecycle import ManagedNode
from vla_ros.ros.process.owner import Owner
from vla_ros.ros.process.worker import Worker
from vla_ros.ros.subscriptions import Inputs

LONGEST_JOB_S = 10.0  # at cleanup: a worker must not find its topics and its model gone


class Model(Protocol):
    """A model with a contract."""

    contract: PolicyContract


Job = TypeVar("Job")
M = TypeVar("M", bound=Model)
P = TypeVar("P", bound=ModelParameters)
S = TypeVar("S", bound="Session[Any]")
Handler = Callable[[Any, Any], Any]


class Session(Generic[M]):
    """Robot, model, synchroniser, diagnostics and clock of an observing node, from configure to cleanup.

    Subclasses make their topics in `__init__`, which may raise halfway: whatever is owned goes anyway. `begin` starts
    what lives while the node is active; `while_active` owns that.

    inputs: the robot's topics; None while the node is inactive.
    problem: what is wrong, in words, until the next success.
    """

    work = "inference"  # what the workers do, for messages

    def __init__(self, node: ManagedNode, parameters: ModelParameters, load: Callable[..., M]) -> None:
        self.node, self.own = node, node.own
        self.robot = load_robot(parameters.robot)
        self.model = load(parameters.model, threads=parameters.threads, device=parameters.device)
        contract = self.model.contract
        check_contract(contract, self.robot)
        self.cameras = tuple(camera.name for camera in contract.cameras)
        self.synchroniser = Synchroniser(
            self.robot, cameras=contract.cameras, history=contract.history, history_step_s=contract.step_s
        )
        self._tell_sizes()
        self.problem = ""
        self.inputs: Inputs | None = None
        self._heard, self._active, self._workers = Heard(), Owner(node), list[Worker[Any]]()
        self.while_active = self._active.own
        self.diagnostics = self.own(Diagnostics(node, self.report, self.robot.name))
        self.own(on_clock_jump(node, self.restart))

    def _tell_sizes(self) -> None:
        for camera in self.model.contract.cameras:
            if self.robot.camera(camera.name).size != (camera.height, camera.width):
                size = f"{camera.width}x{camera.height}"
                self.node.get_logger().info(f"camera '{camera.name}': brought to the model's {size} ({camera.fit})")

    def begin(self) -> None:
        """Start workers, and subscribe to more than the inputs."""

    def restart(self) -> None:
        """Forget what was observed: the clock jumped, or the node ceases to listen."""
        self.synchroniser.reset()

    def on_image(self) -> None:
        """Hear that an image was accepted."""

    def on_instruction(self) -> None:
        """Hear that the instruction is another one."""

    def report(self) -> Report:
        """Return the node's state for /diagnostics."""
        raise NotImplementedError

    def activate(self) -> None:
        """Listen. Raises VlaRosError while a job of the last activation is still under way."""
        if not all(worker.ended for worker in self._workers):
            raise VlaRosError(f"the last {self.work} is still under way; activate once it is over")
        self.problem, self._workers = "", []
        self.begin()
        self.inputs = self.while_active(
            Inputs(
                self.node,
                self.robot,
                self.synchroniser,
                self.cameras,
                self.on_image,
                lambda _: self.on_instruction(),
                self.restart,
                self._heard,
            )
        )

    def deactivate(self) -> None:
        """Cease to listen, and drop what is under way."""
        if self.inputs is not None:
            self.inputs.close()
            self.inputs = None
            self.restart()
        self._active.close()

    def finish(self) -> None:
        """Wait for workers that are still at work."""
        for worker in self._workers:
            worker.close(timeout_s=LONGEST_JOB_S)

    def worker(self, work: Callable[[Job], None], failed: Callable[[Exception], None], name: str) -> Worker[Job]:
        """Start a worker, which ends when the node becomes inactive. For `begin`."""
        worker = self.while_active(Worker(work, failed, name))
        self._workers.append(worker)
        return worker

    def hear(self, kind: Any, topic: str, callback: Callable[[Any], None], qos: QoSProfile) -> None:
        """Subscribe while the node is active. For `begin`."""
        self.while_active(self.node.create_subscription(kind, topic, callback, qos))

    def publish(self, kind: Any, topic: str, qos: QoSProfile) -> Any:
        """Make a publisher of the session."""
        return self.own(self.node.create_publisher(kind, topic, qos))

    def serve(self, kind: Any, name: str, handler: Handler) -> Service:
        """Make a service of the session."""
        return self.own(self.node.create_service(kind, name, handler))

    def now_ns(self) -> int:
        """Return the time of the node's clock [ns]."""
        return int(self.node.get_clock().now().nanoseconds)


class ObservingNode(ManagedNode, Generic[P, S]):
    """The lifecycle around a session: `open_session(node, parameters)` makes it, and may raise VlaRosError.

    session: from configure to cleanup, None else.
    """

    def __init__(self, name: str, kind: type[P], open_session: Callable[[ManagedNode, P], S]) -> None:
        super().__init__(name)
        self.parameters = declare(self, kind)
        self.session: S | None = None
        self._open_session = open_session

    def configure(self) -> None:
        """Load robot and model, check that they fit, and make topics and services."""
        self.session = self._open_session(self, self.parameters)

    def activate(self) -> None:
        """Listen, and work."""
        assert self.session is not None  # rclpy activates only what is configured
        self.session.activate()

    def deactivate(self) -> None:
        """Cease to listen; what is under way is dropped."""
        if self.session is not None:
            self.session.deactivate()

    def cleanup(self) -> None:
        """Wait for what is under way; whatever the session owned goes after it."""
        if self.session is not None:
            self.session.finish()

    def give_back(self) -> None:
        """Give the model's memory back, too: the next one must find room."""
        super().give_back()
        self.session = None
        gc.collect()
