"""The world-model node: what the cameras will show, before they do, and how far what they then show is from it."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: the policy needs the cores more

import gc
import time
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
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_ros.bags.episodes.marks import EPISODE
from vla_ros.core.errors import ConfigError, ContractError, MessageError, VlaRosError
from vla_ros.core.robot import load_robot
from vla_ros.core.streams.synchroniser import Synchroniser
from vla_ros.core.surprise.companion import Companion
from vla_ros.core.surprise.imagination import FORWARD, MODES
from vla_ros.core.surprise.score import load_calibration
from vla_ros.core.surprise.witness import Judged
from vla_ros.core.timing import LatencyStats, RateMeter
from vla_ros.core.types import NS_PER_S, Observation
from vla_ros.media.comparison import comparison
from vla_ros.monitor.prediction_files import PredictionFiles
from vla_ros.policies.loading import check_contract, find_model, load_world_model
from vla_ros.ros.alarm import Alarm
from vla_ros.ros.convert import COMMAND_TYPES, array_to_image, command_to_array, trajectory_to_chunk
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report, waiting
from vla_ros.ros.listening.everyone import Heard
from vla_ros.ros.listening.scenes import hear_new_scenes
from vla_ros.ros.parameters import ModelParameters, declare, parameter
from vla_ros.ros.process.lifecycle import ManagedNode, spin
from vla_ros.ros.process.scheduling import stand_back
from vla_ros.ros.process.worker import Worker
from vla_ros.ros.qos import COMMAND
from vla_ros.ros.subscriptions import Inputs
from vla_ros.ros.turns import Follower, turns_file


@dataclass(frozen=True, slots=True)
class Parameters(ModelParameters):
    """The world-model node's parameters; `mode`, `rate_hz` and `samples` may be set while it runs."""

    nice: int = parameter(10, "how far it stands back behind other processes", low=0, high=19)
    take_turns: bool = parameter(True, "pause while a policy in the same namespace and on this machine infers")
    mode: str = parameter(FORWARD, "forward: imagine the newest chunk; video: what comes anyway", read_only=False)
    rate_hz: float = parameter(3.0, "predictions per second, at most", low=0.01, high=30.0, read_only=False)
    samples: int = parameter(4, "answers drawn for each prediction", low=1, high=16, read_only=False)
    stop_on_error: bool = parameter(False, "ask the commander to stop where surprise reaches ERROR")
    out: str = parameter("out/world_model", "folder for what ~/save writes")


class WorldModelNode(ManagedNode):
    """Topics, services and two threads around a `Companion`. Newest wins; what is late is dropped."""

    def __init__(self) -> None:
        super().__init__("world_model")
        self.parameters = declare(self, Parameters)
        self._inputs: Inputs | None = None
        self._worker: Worker[bool] | None = None
        self._looker: Worker[Observation] | None = None
        self._last_workers: tuple[Worker[Any], ...] = ()
        self._companion: Companion | None = None
        self._diagnostics: Diagnostics | None = None
        self._made: list[Callable[[], Any]] = []
        self.add_on_set_parameters_callback(_check_mode)

    def configure(self) -> None:
        """Load robot and model, hold them against each other; make topics and services."""
        stand_back(self.parameters.nice)
        if (mode := self.parameters.mode) not in MODES:
            raise ConfigError(f"mode is '{mode}'; right would be {' or '.join(MODES)}")
        self._robot = load_robot(self.parameters.robot)
        model = load_world_model(self.parameters.model, threads=self.parameters.threads, device=self.parameters.device)
        contract = self._contract = model.contract
        check_contract(contract, self._robot)
        self._cameras = tuple(camera.name for camera in contract.cameras)
        self._synchroniser = Synchroniser(
            self._robot, cameras=self._cameras, history=contract.history, history_step_s=contract.step_s
        )
        meeting = turns_file(self.context.get_domain_id(), self.get_namespace())
        self._turns = Follower(meeting, self.parameters.take_turns)
        model.breathe(self._turns.give_way)
        self._companion = Companion(model, self._robot)
        self._paused, self._asked, self._problem = False, False, ""
        self._heard_before, self._scene_ns = Heard(), 0
        self._took, self._waited, self._rate = LatencyStats(), LatencyStats(), RateMeter()
        calibration = load_calibration(find_model(self.parameters.model))
        self._alarm = Alarm(self, calibration, self.parameters.stop_on_error)
        self._make_topics()

    def _make_topics(self) -> None:
        publish, serve = self.create_publisher, self.create_service
        self._predicted = {name: publish(Image, f"~/{name}/predicted", COMMAND) for name in self._cameras}
        self._compared = {name: publish(Image, f"~/{name}/comparison", COMMAND) for name in self._cameras}
        files = self._files = PredictionFiles(Path(self.parameters.out), self._cameras, self._contract.step_ns)
        services = [
            serve(Trigger, "~/predict", self._on_predict), serve(SetBool, "~/pause", self._on_pause),
            serve(Trigger, "~/save", partial(self._on_save, files.picture)),
            serve(Trigger, "~/save_video", partial(self._on_save, files.video)),
        ]  # fmt: skip
        diagnostics = self._diagnostics = Diagnostics(self, self._report, self._robot.name)
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        jumps = self.get_clock().create_jump_callback(threshold, post_callback=lambda _: self._restart())
        self._made = [diagnostics.close, jumps.unregister, self._alarm.close, self._turns.close]
        pictures = [*self._predicted.values(), *self._compared.values()]
        self._made += [partial(self.destroy_publisher, p) for p in pictures]
        self._made += [partial(self.destroy_service, s) for s in services]

    def activate(self) -> None:
        """Listen, and imagine."""
        if not all(worker.ended for worker in self._last_workers):
            raise VlaRosError("the last prediction is still under way; right would be to activate once it is over")
        companion, self._problem = self._company, ""
        self._worker = Worker(self._work, self._failed, "imagination")
        self._looker = Worker(self._look, self._failed, "look")
        self._last_workers = self._worker, self._looker
        self._inputs = Inputs(
            self, self._robot, self._synchroniser, self._cameras, self._on_image,
            lambda _: companion.follow(None), self._restart, self._heard_before,
        )  # fmt: skip
        self._heard = [self.create_subscription(JointTrajectory, "action_chunk", self._on_chunk, COMMAND)]
        self._heard += hear_new_scenes(self, EPISODE, self._on_new_scene)
        for spec, columns in self._robot.outputs:
            if spec.interface == "position":
                kind, hear = COMMAND_TYPES[spec.type], partial(self._on_command, columns)
                self._heard.append(self.create_subscription(kind, spec.topic, hear, COMMAND))

    def deactivate(self) -> None:
        """Cease to listen; a prediction under way is dropped."""
        if self._inputs is not None and self._worker is not None and self._looker is not None:
            self._inputs.close()
            for subscription in self._heard:
                self.destroy_subscription(subscription)
            self._restart()
            self._looker.close()
            self._worker.close()
            self._inputs = self._worker = self._looker = None

    def cleanup(self) -> None:
        """Remove what `configure` made, the model too: the next one must find room."""
        for worker in self._last_workers:
            worker.close(timeout_s=10.0)
        for remove in self._made:
            remove()
        self._made, self._diagnostics, self._companion = [], None, None
        gc.collect()

    @property
    def _company(self) -> Companion:
        assert self._companion is not None  # from configure to cleanup
        return self._companion

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_new_scene(self) -> None:
        """What was imagined of the former scene is no measure of this one, nor are its last pictures on their way."""
        self._restart()
        self._scene_ns = self._now_ns()

    def _restart(self) -> None:
        self._scene_ns = 0
        self._synchroniser.reset()
        self._company.reset()
        self._alarm.clear()

    def _on_image(self) -> None:
        observation = self._synchroniser.observe(self._now_ns())
        if observation is None or observation.stamp_ns < self._scene_ns:
            return
        if self._worker is not None and self._looker is not None:
            self._company.see(observation)
            self._looker.submit(observation)
            self._worker.submit(True)

    def _look(self, observation: Observation) -> None:
        """In a thread of its own: the policy, too, has just got these pictures."""
        self._turns.give_way()
        self._alarm.hear(self._now_ns(), self._company.look(observation))

    def _on_chunk(self, message: JointTrajectory) -> None:
        try:
            chunk = trajectory_to_chunk(message)
        except (MessageError, ContractError) as error:
            self._problem = f"action chunk: {error}"
            return
        self._company.follow(chunk)
        if self._worker is not None:
            self._worker.submit(True)

    def _on_command(self, columns: tuple[int, ...], message: Any) -> None:
        try:
            values = command_to_array(message, [self._robot.joint_names[column] for column in columns])
        except MessageError as error:
            self._problem = f"command: {error}"
            return
        self._company.command(self._now_ns(), values, columns)

    def _work(self, _: bool) -> None:
        """In the thread that imagines: first judge what has come, then imagine anew where that is due."""
        companion = self._company
        for judged in companion.judge():
            self._tell(judged)
        if self._paused and not self._asked:
            return
        companion.samples = int(self.get_parameter("samples").value)
        companion.every_ns = round(NS_PER_S / float(self.get_parameter("rate_hz").value))
        mode, started_ns, waited_ns = str(self.get_parameter("mode").value), time.monotonic_ns(), self._turns.waited_ns
        expectation = companion.imagine_if_due(self._now_ns(), mode, at_ns=started_ns, at_once=self._asked)
        if expectation is None:
            return
        self._asked = False
        self._took.add_ns(time.monotonic_ns() - started_ns)
        self._waited.add_ns(self._turns.waited_ns - waited_ns)
        if self._turns.problem:
            self.get_logger().warning(self._turns.problem, once=True)
        self._rate.tick(self._now_ns())
        self._problem = ""
        for name in self._cameras:
            for frame, due_ns in zip(expectation.prediction.images[name], expectation.due_ns.tolist(), strict=True):
                self._predicted[name].publish(array_to_image(frame, due_ns, name))

    def _tell(self, judged: Judged) -> None:
        """In the thread: what an expectation has told, and, once all of it has come, how it looked."""
        self._alarm.hear(self._now_ns(), judged.reading)
        if (came := judged.came) is None:
            return
        expectation = judged.expectation
        horizon_s = float(expectation.due_ns[-1] - expectation.observation.stamp_ns) / NS_PER_S
        for name in self._cameras:
            if self._compared[name].get_subscription_count():
                now, frame = expectation.observation.images[name][-1], expectation.prediction.images[name][-1]
                picture = comparison(now, frame, came.images[name][-1], horizon_s)
                self._compared[name].publish(array_to_image(picture, int(expectation.due_ns[-1]), name))

    def _failed(self, error: Exception) -> None:
        """In the thread."""
        self._problem = str(error) or repr(error)
        self.get_logger().error(f"no prediction: {self._problem}", throttle_duration_sec=5.0)

    def _on_predict(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._worker is None or self._company.newest is None:
            reason = "not active" if self._inputs is None else self._inputs.explained(self._synchroniser.reason)
            response.message = reason or "no images yet"
            return response
        self._asked = True
        self._worker.submit(True)
        response.success, response.message = True, "the next prediction will not wait for the rate or the pause"
        return response

    def _on_save(self, save: Callable[..., Path], _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._files.say(save, self._company.last)
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
            "prediction_ms p99": self._took.quantile_ms(0.99), "waited_ms p50": self._waited.quantile_ms(0.5),
            "waited_s": self._turns.waited_ns / NS_PER_S, "turns": self._turns.state,
        }  # fmt: skip
        values |= self._alarm.figures()
        if self._inputs is None:
            return Report(WARN, "inactive", values)
        values |= self._inputs.figures(now_ns) | {"last refused input": self._inputs.last_error}
        if self._problem:
            return Report(ERROR, self._problem, values)
        if self._paused:
            return Report(OK, "paused", values)
        if not self._synchroniser.instruction:
            return waiting("waiting for an instruction", self._inputs.trouble, values)
        if self._alarm.level != OK:
            return Report(self._alarm.level, f"surprised: {self._alarm.reason}", values)
        if self._rate.age_s(now_ns) > 3.0:
            reason = self._inputs.explained(self._synchroniser.reason)
            return Report(WARN, reason or "waiting for a chunk", values)
        calibrated = "" if self._alarm.calibrated else "; surprise is not calibrated for this model"
        return Report(OK, f"predicting{calibrated}", values)


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
