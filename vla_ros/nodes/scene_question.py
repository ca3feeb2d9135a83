"""The scene-question node: a question in words about what the cameras show, and the model's answer in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_ros.bags.episodes.marks import EPISODE
from vla_ros.core.abilities import Speaks
from vla_ros.core.errors import MessageError
from vla_ros.core.streams.admission import check_instruction
from vla_ros.core.timing import LatencyStats
from vla_ros.core.types import Observation
from vla_ros.policies.loading import load_speaker
from vla_ros.ros.diagnostics import ERROR, WARN, Report, waiting
from vla_ros.ros.listening.everyone import hear_everyone
from vla_ros.ros.listening.scenes import hear_new_scenes
from vla_ros.ros.observing_node import ObservingNode, Session
from vla_ros.ros.parameters import ModelParameters, parameter
from vla_ros.ros.process.lifecycle import ManagedNode, spin
from vla_ros.ros.process.worker import Worker
from vla_ros.ros.qos import EVENTS

Asked = tuple[str, Observation, Observation | None]  # the question, what is seen now, and what was seen before


@dataclass(frozen=True, slots=True)
class Parameters(ModelParameters):
    """The scene-question node's parameters."""

    model: str = parameter("vla_tabletop", "model folder of kind vla, or its name in models")


class SceneQuestionSession(Session[Speaks]):
    """`~/question` (String), of now, in, `~/answer` (String) out; what has no answer is said in /diagnostics.

    `~/change_question` is of what has changed since the instruction was given, or since `~/remember` was called.
    """

    work = "answer"
    _worker: Worker[Asked]

    def __init__(self, node: ManagedNode, wanted: Parameters) -> None:
        super().__init__(node, wanted, load_speaker)
        self._before: Observation | None = None
        self._new_since_ns: int | None = None  # a new scene, of which nothing is remembered yet
        self._took = LatencyStats()
        self._answers = self.publish(String, "~/answer", EVENTS)
        self._hear_questions("~/question", lambda asked: self._ask(asked.data, None))
        self._hear_questions("~/change_question", self._on_change_question)
        self.serve(Trigger, "~/remember", self._on_remember)

    def _hear_questions(self, topic: str, callback: Callable[[String], None]) -> None:
        for subscription in hear_everyone(self.node, String, topic, callback, latched=False, depth=EVENTS.depth):
            self.own(subscription)

    def begin(self) -> None:
        """Start the answering thread, and hear of new scenes."""
        self._worker = self.worker(self._answer, self._failed, "answer")
        for subscription in hear_new_scenes(self.node, EPISODE, self._on_new_scene):
            self.while_active(subscription)

    def on_instruction(self) -> None:
        """What changes is told against this moment, or the first one that is seen after it."""
        self._remember()
        if self._before is None:
            self._new_since_ns = self.now_ns()

    def _on_new_scene(self) -> None:
        """There is nothing to compare this scene with but its own first moment."""
        self._before, self._new_since_ns = None, self.now_ns()

    def on_image(self) -> None:
        """Remember the first moment of a new scene."""
        if self._new_since_ns is None or not self.synchroniser.instruction:
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
        if self.inputs is None:
            return
        observation = self.synchroniser.observe(self.now_ns(), repeat=True)
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
        reason = self.synchroniser.reason
        return self.inputs.explained(reason) if self.inputs is not None else reason

    def _remember(self) -> None:
        """Keep the present moment; none where nothing fresh is seen, for an older one would be the wrong one."""
        active = self.inputs is not None
        self._before = self.synchroniser.observe(self.now_ns(), repeat=True) if active else None

    def _on_remember(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._remember()
        response.success = self._before is not None
        response.message = "remembered" if response.success else f"no moment: {self._why() or 'inactive'}"
        return response

    def _answer(self, asked: Asked) -> None:
        """In the answering thread."""
        question, observation, before = asked
        started_ns = self.now_ns()
        answer = self.model.answer(observation, question, before)
        self._took.add_ns(self.now_ns() - started_ns)
        self.problem = ""
        self._answers.publish(String(data=answer))

    def _failed(self, error: Exception) -> None:
        self._refuse(str(error) or repr(error))

    def _refuse(self, why: str) -> None:
        self.problem = why
        self.node.get_logger().warning(f"no answer: {why}", throttle_duration_sec=2.0)
        self.diagnostics.changed()

    def report(self) -> Report:
        """Return whether it waits for questions, or why it cannot answer."""
        values: dict[str, object] = {"answer_ms p50": self._took.quantile_ms(0.5)}
        if self.inputs is None:
            return Report(ERROR if self.problem else WARN, self.problem or "inactive", values)
        values |= self.inputs.figures(self.now_ns())
        if self.problem:
            return Report(WARN, self.problem, values)
        return waiting("waiting for a question", self.inputs.trouble, values)


class SceneQuestionNode(ObservingNode[Parameters, SceneQuestionSession]):
    """The lifecycle of a `SceneQuestionSession`."""

    def __init__(self) -> None:
        super().__init__("scene_question", Parameters, SceneQuestionSession)


def main() -> None:
    """Entry point."""
    spin(SceneQuestionNode)


if __name__ == "__main__":
    main()
