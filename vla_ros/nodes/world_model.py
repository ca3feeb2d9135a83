"""The world-model node: what the cameras will show, before they do, and how far what they then show is from it."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: the policy needs the cores more

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_ros.bags.episodes.marks import EPISODE
from vla_ros.core.abilities import WorldModel
from vla_ros.core.errors import ConfigError, ContractError, MessageError
from vla_ros.core.surprise.companion import Companion
from vla_ros.core.surprise.imagination import FORWARD, MODES
from vla_ros.core.surprise.score import load_calibration
from vla_ros.core.types import NS_PER_S, Observation
from vla_ros.media.comparison import comparison
from vla_ros.monitor.prediction_files import PredictionFiles
from vla_ros.policies.loading import find_model, load_world_model
from vla_ros.ros.alarm import Alarm
from vla_ros.ros.convert import COMMAND_TYPES, command_to_array, trajectory_to_chunk
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Report, waiting
from vla_ros.ros.listening.scenes import hear_new_scenes
from vla_ros.ros.observing_node import ObservingNode, Session
from vla_ros.ros.parameters import ModelParameters, parameter
from vla_ros.ros.predictions import Pace, Predictions
from vla_ros.ros.process.lifecycle import ManagedNode, spin
from vla_ros.ros.process.scheduling import stand_back
from vla_ros.ros.process.worker import Worker
from vla_ros.ros.qos import COMMAND
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


class WorldModelSession(Session[WorldModel]):
    """Topics, services and two threads around a `Companion`. Newest wins; what is late is dropped."""

    work = "prediction"
    _worker: Worker[bool]
    _looker: Worker[Observation]

    def __init__(self, node: ManagedNode, wanted: Parameters) -> None:
        stand_back(wanted.nice)
        if refusal := _mode_refusal(wanted.mode):
            raise ConfigError(refusal)
        super().__init__(node, wanted, load_world_model)
        meeting = turns_file(node.context.get_domain_id(), node.get_namespace())
        self._turns = self.own(Follower(meeting, wanted.take_turns))
        self.model.breathe(self._turns.give_way)
        self._companion = Companion(self.model, self.robot)
        self._paused, self._asked, self._scene_ns = False, False, 0
        self._pace = Pace()
        self._alarm = self.own(Alarm(node, load_calibration(find_model(wanted.model)), wanted.stop_on_error))
        self._predictions = Predictions(self.cameras, lambda topic: self.publish(Image, topic, COMMAND), comparison)
        files = self._files = PredictionFiles(Path(wanted.out), self.cameras, self.model.contract.step_ns)
        self.serve(Trigger, "~/predict", self._on_predict)
        self.serve(SetBool, "~/pause", self._on_pause)
        self.serve(Trigger, "~/save", partial(self._on_save, files.picture))
        self.serve(Trigger, "~/save_video", partial(self._on_save, files.video))

    def begin(self) -> None:
        """Start both threads, and hear plans, commands and new scenes."""
        self._worker = self.worker(self._work, self._failed, "imagination")
        self._looker = self.worker(self._look, self._failed, "look")
        self.hear(JointTrajectory, "action_chunk", self._on_chunk, COMMAND)
        for subscription in hear_new_scenes(self.node, EPISODE, self._on_new_scene):
            self.while_active(subscription)
        for spec, columns in self.robot.outputs:
            if spec.interface == "position":
                self.hear(COMMAND_TYPES[spec.type], spec.topic, partial(self._on_command, columns), COMMAND)

    def restart(self) -> None:
        """Begin anew; what was imagined of the past is dropped."""
        self._scene_ns = 0
        self.synchroniser.reset()
        self._companion.reset()
        self._alarm.clear()

    def on_instruction(self) -> None:
        """Forget the plan, which obeys another sentence."""
        self._companion.follow(None)

    def on_image(self) -> None:
        """Look at the newest observation, and imagine from it."""
        observation = self.synchroniser.observe(self.now_ns())
        if observation is None or observation.stamp_ns < self._scene_ns:
            return
        self._companion.see(observation)
        self._looker.submit(observation)
        self._worker.submit(True)

    def _on_new_scene(self) -> None:
        """What was imagined of the former scene is no measure of this one, nor are its last pictures on their way."""
        self.restart()
        self._scene_ns = self.now_ns()

    def _look(self, observation: Observation) -> None:
        """In a thread of its own: the policy, too, has just got these pictures."""
        self._turns.give_way()
        self._alarm.hear(self.now_ns(), self._companion.look(observation))

    def _on_chunk(self, message: JointTrajectory) -> None:
        try:
            chunk = trajectory_to_chunk(message)
        except (MessageError, ContractError) as error:
            self.problem = f"action chunk: {error}"
            return
        self._companion.follow(chunk)
        self._worker.submit(True)

    def _on_command(self, columns: tuple[int, ...], message: Any) -> None:
        try:
            values = command_to_array(message, [self.robot.joint_names[column] for column in columns])
        except MessageError as error:
            self.problem = f"command: {error}"
            return
        self._companion.command(self.now_ns(), values, columns)

    def _work(self, _: bool) -> None:
        """In the thread that imagines: first judge what has come, then imagine anew if that is due."""
        for judged in self._companion.judge():
            self._alarm.hear(self.now_ns(), judged.reading)
            if judged.came is not None:
                self._predictions.compare(judged.expectation, judged.came)
        if self._asked or not self._paused:
            self._imagine()

    def _imagine(self) -> None:
        companion, setting = self._companion, self.node.get_parameter
        companion.samples = int(setting("samples").value)
        companion.every_ns = round(NS_PER_S / float(setting("rate_hz").value))
        mode, started_ns, waited_ns = str(setting("mode").value), time.monotonic_ns(), self._turns.waited_ns
        expectation = companion.imagine_if_due(self.now_ns(), mode, at_ns=started_ns, at_once=self._asked)
        if expectation is None:
            return
        self._asked = False
        self._pace.made(self.now_ns(), started_ns, self._turns.waited_ns - waited_ns)
        if self._turns.problem:
            self.node.get_logger().warning(self._turns.problem, once=True)
        self.problem = ""
        self._predictions.show(expectation)

    def _failed(self, error: Exception) -> None:
        """In the thread."""
        self.problem = str(error) or repr(error)
        self.node.get_logger().error(f"no prediction: {self.problem}", throttle_duration_sec=5.0)

    def _on_predict(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self.inputs is None or self._companion.newest is None:
            reason = "not active" if self.inputs is None else self.inputs.explained(self.synchroniser.reason)
            response.message = reason or "no images yet"
            return response
        self._asked = True
        self._worker.submit(True)
        response.success, response.message = True, "the next prediction will not wait for the rate or the pause"
        return response

    def _on_save(self, save: Callable[..., Path], _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._files.say(save, self._companion.last)
        return response

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._paused = bool(request.data)
        response.success, response.message = True, "paused" if self._paused else "predicting"
        self.diagnostics.changed()
        return response

    def report(self) -> Report:
        """Return what it imagines, or why it does not, and how surprised it is."""
        now_ns = self.now_ns()
        values: dict[str, object] = {"mode": self.node.get_parameter("mode").value, **self._pace.values(now_ns)}
        values |= {"waited_s": self._turns.waited_ns / NS_PER_S, "turns": self._turns.state}
        values |= self._alarm.figures()
        if self.inputs is None:
            return Report(WARN, "inactive", values)
        values |= self.inputs.figures(now_ns) | {"last refused input": self.inputs.last_error}
        if self.problem:
            return Report(ERROR, self.problem, values)
        if self._paused:
            return Report(OK, "paused", values)
        if not self.synchroniser.instruction:
            return waiting("waiting for an instruction", self.inputs.trouble, values)
        if self._alarm.level != OK:
            return Report(self._alarm.level, f"surprised: {self._alarm.reason}", values)
        if self._pace.rate.age_s(now_ns) > 3.0:
            reason = self.inputs.explained(self.synchroniser.reason)
            return Report(WARN, reason or "waiting for a chunk", values)
        calibrated = "" if self._alarm.calibrated else "; surprise is not calibrated for this model"
        return Report(OK, f"predicting{calibrated}", values)


def _mode_refusal(mode: object) -> str:
    return "" if mode in MODES else f"mode must be {' or '.join(MODES)}, got '{mode}'"


def _check_mode(parameters: list[Parameter]) -> SetParametersResult:
    refusals = [_mode_refusal(changed.value) for changed in parameters if changed.name == "mode"]
    reason = next(filter(None, refusals), "")
    return SetParametersResult(successful=not reason, reason=reason)


class WorldModelNode(ObservingNode[Parameters, WorldModelSession]):
    """The lifecycle of a `WorldModelSession`."""

    def __init__(self) -> None:
        super().__init__("world_model", Parameters, WorldModelSession)
        self.add_on_set_parameters_callback(_check_mode)


def main() -> None:
    """Entry point."""
    spin(WorldModelNode)


if __name__ == "__main__":
    main()
