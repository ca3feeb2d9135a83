"""The world-model node: what the cameras will show, before they do, and how far what they then show is from it."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: the policy needs the cores more

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Float32
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_ros.core.errors import ConfigError, ContractError, MessageError
from vla_ros.core.expectation import Expectation, Recent, what_came
from vla_ros.core.robot import load_robot
from vla_ros.core.streams import Synchroniser
from vla_ros.core.surprise import depart, load_calibration
from vla_ros.core.timing import LatencyStats, RateMeter
from vla_ros.core.types import NS_PER_S, ActionChunk, Observation
from vla_ros.monitor.comparison import comparison, grid
from vla_ros.policies.loading import check_contract, find_model, load_policy
from vla_ros.ros.convert import array_to_image, trajectory_to_chunk
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report
from vla_ros.ros.inputs import Inputs
from vla_ros.ros.lifecycle import ManagedNode, spin
from vla_ros.ros.parameters import ModelParameters, declare, parameter
from vla_ros.ros.qos import COMMAND
from vla_ros.ros.worker import Worker

FORWARD, VIDEO = "forward", "video"
MODES = (FORWARD, VIDEO)
KEPT, WAITING = 64, 8  # observations, and expectations whose moment has not come
CHUNK_MAX_AGE_S = 1.0  # an older plan is not what the robot does now


@dataclass(frozen=True, slots=True)
class Parameters(ModelParameters):
    """The world-model node's parameters; `mode`, `rate_hz` and `samples` may be set while it runs."""

    nice: int = parameter(10, "how far it stands back behind other processes", low=0, high=19)
    mode: str = parameter(FORWARD, "forward: imagine the newest chunk; video: what comes anyway", read_only=False)
    rate_hz: float = parameter(2.0, "predictions per second, at most", low=0.01, high=30.0, read_only=False)
    samples: int = parameter(2, "answers drawn for each prediction", low=1, high=16, read_only=False)
    stop_on_error: bool = parameter(False, "ask the commander to stop where surprise reaches ERROR")
    out: str = parameter("out/world_model", "folder for what ~/save writes")


class WorldModelNode(ManagedNode):
    """Topics, services and one thread around a `core.types.WorldModel`. Newest wins; what is late is dropped."""

    def __init__(self) -> None:
        super().__init__("world_model")
        self.parameters = declare(self, Parameters)
        self._inputs: Inputs | None = None
        self._worker: Worker[bool] | None = None
        self._diagnostics: Diagnostics | None = None
        self._made: list[Callable[[], Any]] = []
        self.add_on_set_parameters_callback(_check_mode)

    def configure(self) -> None:
        """Load robot and model, hold them against each other; make topics and services."""
        os.nice(max(self.parameters.nice - os.nice(0), 0))
        if (mode := self.parameters.mode) not in MODES:
            raise ConfigError(f"mode is '{mode}'; right would be {' or '.join(MODES)}")
        self._robot = load_robot(self.parameters.robot)
        self._model: Any = load_policy(
            self.parameters.model, threads=self.parameters.threads, device=self.parameters.device
        )
        if not all(hasattr(self._model, answer) for answer in ("imagine", "explain", "latents")):
            raise ConfigError(f"model '{self.parameters.model}' acts but does not imagine; right would be kind uwm")
        check_contract(self._model.contract, self._robot)
        self._cameras = tuple(camera.name for camera in self._model.contract.cameras)
        contract = self._model.contract
        self._synchroniser = Synchroniser(
            self._robot, cameras=self._cameras, history=contract.history, history_step_s=contract.step_s
        )
        self._recent = Recent(KEPT, contract.step_ns // 2)
        self._waiting: deque[Expectation] = deque(maxlen=WAITING)
        self._lock = threading.Lock()
        self._chunk: ActionChunk | None = None
        self._last: Expectation | None = None
        self._paused, self._asked, self._problem, self._started_s = False, False, "", -1e9
        self._took, self._rate = LatencyStats(), RateMeter()
        self._calibration = load_calibration(find_model(self.parameters.model))
        self._surprise = math.nan
        if self.parameters.stop_on_error and self._calibration is None:
            raise ConfigError("stop_on_error needs thresholds; first run `vla-ros calibrate surprise`")
        self._make_topics()

    def _make_topics(self) -> None:
        publish, serve = self.create_publisher, self.create_service
        self._predicted = {name: publish(Image, f"~/{name}/predicted", COMMAND) for name in self._cameras}
        self._compared = {name: publish(Image, f"~/{name}/comparison", COMMAND) for name in self._cameras}
        self._surprises = publish(Float32, "~/surprise", COMMAND)
        self._stop = self.create_client(Trigger, "commander/stop")
        services = [
            serve(Trigger, "~/predict", self._on_predict), serve(Trigger, "~/save", self._on_save),
            serve(SetBool, "~/pause", self._on_pause),
        ]  # fmt: skip
        diagnostics = self._diagnostics = Diagnostics(self, self._report)
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        jumps = self.get_clock().create_jump_callback(threshold, post_callback=lambda _: self._restart())
        self._made = [diagnostics.close, jumps.unregister]
        self._made += [partial(self.destroy_publisher, p) for p in self._image_publishers()]
        self._made += [partial(self.destroy_client, self._stop)]
        self._made += [partial(self.destroy_service, s) for s in services]

    def _image_publishers(self) -> list[Any]:
        return [*self._predicted.values(), *self._compared.values(), self._surprises]

    def activate(self) -> None:
        """Listen, and imagine."""
        self._problem = ""
        self._worker = Worker(self._work, self._failed, "imagination")
        self._inputs = Inputs(
            self, self._robot, self._synchroniser, self._cameras, self._on_image, lambda _: self._forget_chunk()
        )
        self._chunks = self.create_subscription(JointTrajectory, "action_chunk", self._on_chunk, COMMAND)

    def deactivate(self) -> None:
        """Cease to listen; a prediction under way is dropped."""
        if self._inputs is not None and self._worker is not None:
            self._inputs.close()
            self.destroy_subscription(self._chunks)
            self._worker.close()
            self._inputs = self._worker = None
            self._restart()

    def cleanup(self) -> None:
        """Remove what `configure` made."""
        for remove in self._made:
            remove()
        self._made, self._diagnostics = [], None

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _restart(self) -> None:
        self._synchroniser.reset()
        self._recent.clear()
        self._waiting.clear()
        self._forget_chunk()

    def _forget_chunk(self) -> None:
        with self._lock:
            self._chunk = None

    def _on_image(self) -> None:
        observation = self._synchroniser.observe(self._now_ns())
        if observation is not None and self._worker is not None:
            self._recent.add(observation)
            self._worker.submit(True)

    def _on_chunk(self, message: JointTrajectory) -> None:
        try:
            chunk = trajectory_to_chunk(message)
        except (MessageError, ContractError) as error:
            self._problem = f"action chunk: {error}"
            return
        with self._lock:
            self._chunk = chunk.in_order(self._model.contract.joints)
        if self._worker is not None:
            self._worker.submit(True)

    def _work(self, _: bool) -> None:
        """In the thread: first judge what has come, then imagine anew where that is due."""
        self._judge_all()
        due = time.monotonic() - self._started_s >= 1.0 / float(self.get_parameter("rate_hz").value)
        if not (self._asked or (due and not self._paused)):
            return
        question = self._question()
        if question is not None:
            self._started_s, self._asked = time.monotonic(), False
            self._imagine(*question)

    def _question(self) -> tuple[Observation, ActionChunk | None] | None:
        """What to imagine from; None where there is nothing yet."""
        newest = self._recent.newest
        if newest is None or not newest.instruction:
            return None
        if self.get_parameter("mode").value == VIDEO:
            return newest, None
        with self._lock:
            chunk = self._chunk
        if chunk is None or self._now_ns() - chunk.stamp_ns > CHUNK_MAX_AGE_S * NS_PER_S:
            return None
        seen = self._recent.at(chunk.stamp_ns)
        same = self._last is not None and self._last.chunk is chunk
        return None if seen is None or not seen.instruction or same else (seen, chunk)

    def _imagine(self, observation: Observation, chunk: ActionChunk | None) -> None:
        started_s = time.monotonic()
        count = int(self.get_parameter("samples").value)
        samples = tuple(self._model.imagine(observation, chunk) for _ in range(count))
        expectation = Expectation(observation, samples, chunk)
        self._took.add_ns(round((time.monotonic() - started_s) * NS_PER_S))
        self._rate.tick(self._now_ns())
        self._last, self._problem = expectation, ""
        self._waiting.append(expectation)
        for name in self._cameras:
            for frame, due_ns in zip(expectation.frames(name), expectation.due_ns.tolist(), strict=True):
                self._predicted[name].publish(array_to_image(frame, due_ns, name))

    def _judge_all(self) -> None:
        tolerance_ns = self._model.contract.step_ns
        for expectation in list(self._waiting):
            came = what_came(expectation, self._recent)
            newest = self._recent.newest
            late = newest is not None and newest.stamp_ns > expectation.due_ns[-1] + tolerance_ns
            if came is not None or late:  # late: a frame was lost, there is nothing to compare with
                self._waiting.remove(expectation)
            if came is not None:
                self._judge(expectation, came)

    def _judge(self, expectation: Expectation, came: Observation) -> None:
        horizon_s = float(expectation.due_ns[-1] - expectation.observation.stamp_ns) / NS_PER_S
        for name in self._cameras:
            if self._compared[name].get_subscription_count():
                now, frames = expectation.observation.images[name][-1], expectation.frames(name)
                picture = comparison(now, frames[-1], came.images[name][-1], horizon_s)
                self._compared[name].publish(array_to_image(picture, int(expectation.due_ns[-1]), name))

        if self._calibration is not None:
            self._surprised(self._calibration.score(depart(expectation, came, self._model.latents)))

    def _surprised(self, score: float) -> None:
        self._surprise = score
        self._surprises.publish(Float32(data=score))
        if self.parameters.stop_on_error and self._level() == ERROR and self._stop.service_is_ready():
            self.get_logger().error(f"surprise {score:.2f}: asking the commander to stop")
            self._stop.call_async(Trigger.Request())

    def _level(self) -> bytes:
        """OK, WARN or ERROR of the last surprise."""
        limits = self._calibration
        if limits is None or not self._surprise >= limits.warn:
            return bytes(OK)
        return bytes(ERROR if self._surprise >= limits.error else WARN)

    def _failed(self, error: Exception) -> None:
        """In the thread."""
        self._problem = str(error) or repr(error)
        self.get_logger().error(f"no prediction: {self._problem}", throttle_duration_sec=5.0)

    def _on_predict(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._worker is None or self._recent.newest is None:
            response.message = "not active" if self._worker is None else self._synchroniser.reason or "no images yet"
            return response
        self._asked = True
        self._worker.submit(True)
        response.success, response.message = True, "the next prediction will not wait for the rate or the pause"
        return response

    def _on_save(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        last = self._last
        if last is None:
            response.message = "nothing has been predicted yet"
            return response
        path = Path(self.parameters.out) / f"prediction_{last.observation.stamp_ns}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            grid({name: [last.observation.images[name][-1], *last.frames(name)] for name in self._cameras}).save(path)
        except OSError as error:
            response.message = f"{path}: {error.strerror}"
            return response
        response.success, response.message = True, str(path.resolve())
        return response

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._paused = bool(request.data)
        response.success, response.message = True, "paused" if self._paused else "predicting"
        if self._diagnostics is not None:
            self._diagnostics.changed()
        return response

    def _report(self) -> Report:
        now_ns = self._now_ns()
        values: dict[str, object] = {
            "mode": self.get_parameter("mode").value, "predictions": self._rate.count,
            "prediction rate_hz": self._rate.rate_hz(now_ns), "prediction_ms p50": self._took.quantile_ms(0.5),
            "prediction_ms p99": self._took.quantile_ms(0.99),
        }  # fmt: skip
        if (limits := self._calibration) is not None:
            values |= {"surprise": self._surprise, "surprise warn": limits.warn, "surprise error": limits.error}
        if self._inputs is None:
            return Report(WARN, "inactive", values)
        values |= self._inputs.figures(now_ns) | {"last refused input": self._inputs.last_error}
        if self._problem:
            return Report(ERROR, self._problem, values)
        if self._paused:
            return Report(OK, "paused", values)
        if not self._synchroniser.instruction:
            return Report(OK, "waiting for an instruction", values)
        if self._rate.age_s(now_ns) > 3.0:
            return Report(WARN, self._synchroniser.reason or "waiting for a chunk", values)
        if self._calibration is None:
            return Report(OK, "predicting; surprise is not calibrated for this model", values)
        return Report(self._level(), "predicting" if self._level() == OK else "surprised", values)


def _check_mode(parameters: list[Parameter]) -> SetParametersResult:
    for changed in parameters:
        if changed.name == "mode" and changed.value not in MODES:
            reason = f"mode is '{changed.value}'; right would be {' or '.join(MODES)}"
            return SetParametersResult(successful=False, reason=reason)
    return SetParametersResult(successful=True)


def main() -> None:
    """Entry point."""
    spin(WorldModelNode, lambda node: node.autostart() if node.parameters.autostart else None,
         lambda node: node.deactivate())  # fmt: skip


if __name__ == "__main__":
    main()
