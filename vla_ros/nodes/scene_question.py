"""The scene-question node: a question in words about what the cameras show, and the model's answer in words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_ros.bags.episodes.marks import EPISODE
from vla_ros.core.errors import MessageError
from vla_ros.core.robot import load_robot
from vla_ros.core.streams.admission import check_instruction
from vla_ros.core.streams.synchroniser import Synchroniser
from vla_ros.core.timing import LatencyStats
from vla_ros.core.types import Observation
from vla_ros.policies.loading import check_contract, load_speaker
from vla_ros.ros.diagnostics import ERROR, WARN, Diagnostics, Report, waiting
from vla_ros.ros.listening.everyone import Heard, hear_everyone
from vla_ros.ros.listening.scenes import hear_new_scenes
from vla_ros.ros.parameters import ModelParameters, declare, parameter
from vla_ros.ros.process.lifecycle import ManagedNode, spin
from vla_ros.ros.process.worker import Worker
from vla_ros.ros.qos import EVENTS
from vla_ros.ros.subscriptions import Inputs


@dataclass(frozen=True, slots=True)
class Parameters(ModelParameters):
    """The scene-question node's parameters."""

    model: str = parameter("vla_tabletop", "model folder of kind vla, or its name in models")


class SceneQuestionNode(ManagedNode):
    """`~/question` (String), of now, in, `~/answer` (String) out; what has no answer is said in /diagnostics.

    `~/change_question` is of what has changed since the instruction was given, or since `~/remember` was called.
    """

    def __init__(self) -> None:
        super().__init__("scene_question")
        self.parameters = declare(self, Parameters)
        self._inputs: Inputs | None = None
        self._worker: Worker[tuple[str, Observation, Observation | None]] | None = None
        self._before: Observation | None = None
        self._new_since_ns: int | None = None  # a new scene, of which nothing is remembered yet
        self._answers: Any = None

    def configure(self) -> None:
        """Load robot and model, hold them against each other."""
        robot = load_robot(self.parameters.robot)
        self._model = load_speaker(
            self.parameters.model, threads=self.parameters.threads, device=self.parameters.device
        )
        contract = self._model.contract
        check_contract(contract, robot)
        cameras = tuple(camera.name for camera in contract.cameras)
        self._synchroniser = Synchroniser(
            robot, cameras=cameras, history=contract.history, history_step_s=contract.step_s
        )
        self._robot, self._cameras = robot, cameras
        self._problem, self._took, self._heard = "", LatencyStats(), Heard()
        if self._answers is None:
            self._answers = self.create_publisher(String, "~/answer", EVENTS)
            ask = partial(hear_everyone, self, String, latched=False, depth=EVENTS.depth)
            ask(topic="~/question", callback=lambda asked: self._ask(asked.data, None))
            ask(topic="~/change_question", callback=self._on_change_question)
            self.create_service(Trigger, "~/remember", self._on_remember)
            self._diagnostics = Diagnostics(self, self._report, self._robot.name)

    def activate(self) -> None:
        """Listen."""
        self._problem = ""
        self._worker = Worker(self._answer, self._failed, "answer")
        self._inputs = Inputs(
            self, self._robot, self._synchroniser, self._cameras, self._on_image, lambda _: self._on_instruction(),
            self._synchroniser.reset, self._heard,
        )  # fmt: skip
        self._scenes = hear_new_scenes(self, EPISODE, self._on_new_scene)

    def deactivate(self) -> None:
        """Cease to listen."""
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
            for subscription in self._scenes:
                self.destroy_subscription(subscription)
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _on_instruction(self) -> None:
        """What changes is told against this moment, or the first one that is seen after it."""
        self._remember()
        if self._before is None:
            self._new_since_ns = self._now_ns()

    def _on_new_scene(self) -> None:
        """There is nothing to compare this scene with but its own first moment."""
        self._before, self._new_since_ns = None, self._now_ns()

    def _on_image(self) -> None:
        if self._new_since_ns is None or not self._synchroniser.instruction:
            return
        self._remember()
        if self._before is not None and self._before.stamp_ns >= self._new_since_ns:
            self._new_since_ns = None
        else:
            self._before = None

    def _on_change_question(self, message: String) -> None:
        if self._before is None:
            self._refuse("there is no moment to compare with; give an instruction, or call ~/remember")
        else:
            self._ask(message.data, self._before)

    def _ask(self, question: str, before: Observation | None) -> None:
        if self._worker is None:
            return
        observation = self._synchroniser.observe(self._now_ns(), repeat=True)
        try:
            question = check_instruction(question, "the question")
        except MessageError as error:
            self._refuse(str(error))
            return
        if observation is None:
            self._refuse(self._why())
        else:
            self._worker.submit((question, observation, before))

    def _why(self) -> str:
        """Why nothing is observed."""
        reason = self._synchroniser.reason
        return self._inputs.explained(reason) if self._inputs is not None else reason

    def _remember(self) -> None:
        """Keep the present moment; none where nothing fresh is seen, for an older one would be the wrong one."""
        active = self._inputs is not None
        self._before = self._synchroniser.observe(self._now_ns(), repeat=True) if active else None

    def _on_remember(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._remember()
        response.success = self._before is not None
        response.message = "remembered" if response.success else f"no moment: {self._why() or 'inactive'}"
        return response

    def _answer(self, job: tuple[str, Observation, Observation | None]) -> None:
        """In the answering thread."""
        question, observation, before = job
        started_ns = self._now_ns()
        answer = self._model.answer(observation, question, before)
        self._took.add_ns(self._now_ns() - started_ns)
        self._problem = ""
        self._answers.publish(String(data=answer))

    def _failed(self, error: Exception) -> None:
        self._refuse(str(error) or repr(error))

    def _refuse(self, why: str) -> None:
        self._problem = why
        self.get_logger().warning(f"no answer: {why}", throttle_duration_sec=2.0)
        self._diagnostics.changed()

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _report(self) -> Report:
        values: dict[str, object] = {"answer_ms p50": self._took.quantile_ms(0.5)}
        if self._inputs is None:
            return Report(ERROR if self._problem else WARN, self._problem or "inactive", values)
        values |= self._inputs.figures(self._now_ns())
        if self._problem:
            return Report(WARN, self._problem, values)
        return waiting("waiting for a question", self._inputs.trouble, values)


def main() -> None:
    """Entry point."""
    spin(SceneQuestionNode, lambda node: node.autostart() if node.parameters.autostart else None,
         lambda node: node.deactivate())  # fmt: skip


if __name__ == "__main__":
    main()
