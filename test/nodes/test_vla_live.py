"""A vision-language policy in the real policy node: chunks for what it understands, none for what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from waiting import until

from vla_ros.bench.random_vla import write_random_vla
from vla_ros.core.robot import load_robot
from vla_ros.policies.backbones.tiny import TinyBackbone
from vla_ros.policies.vla import HeadSizes

pytestmark = pytest.mark.live


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "vla"
    backbone = TinyBackbone(dim=32, depth=1, heads=2)
    write_random_vla(load_robot("ur5e_tabletop"), folder, "policy_head", head=HeadSizes("lstm", 32), backbone=backbone)
    return folder


def test_it_plans_holds_and_plans_again(world, processes, model):
    from std_msgs.msg import String
    from trajectory_msgs.msg import JointTrajectory

    from vla_ros.ros.qos import LATCHED

    chunks: list[JointTrajectory] = []
    world.node.create_subscription(JointTrajectory, "action_chunk", chunks.append, 10)
    sentence = world.node.create_publisher(String, "/instruction", LATCHED)
    processes.start("sim")
    processes.start("policy", model=model)
    until(lambda: world.says("policy", "waiting for an instruction"), what="the policy")
    sentence.publish(String(data="push the red block to the left"))
    until(lambda: len(chunks) >= 10, what="chunks over a whole window")
    assert len(chunks[-1].points) == 12 and list(chunks[-1].joint_names) == list(
        load_robot("ur5e_tabletop").joint_names
    )
    sentence.publish(String(data="juggle seven oranges"))
    until(lambda: world.says("policy", "not understood"), what="a refusal that says why")
    held, told = len(chunks), world.diagnostics["policy"]
    until(lambda: world.diagnostics["policy"] is not told, what="the next word")
    assert world.says("policy", "not understood") and len(chunks) <= held + 1  # one may have been on its way
    sentence.publish(String(data="lift the blue block"))
    until(lambda: len(chunks) >= held + 3, what="chunks again")


def test_an_incomplete_folder_is_refused_at_configure(world, processes, model):
    (model / "words.json").unlink()
    processes.start("policy", model=model)
    until(lambda: "words.json is missing" in processes.output("policy"), what="the refusal by name")


@pytest.fixture
def ask(world, processes, model):
    """Start simulator and scene_question; a function that asks on one of its topics, and the answers."""
    from std_msgs.msg import String

    from vla_ros.ros.qos import EVENTS

    answers: list[str] = []
    world.node.create_subscription(String, "scene_question/answer", lambda m: answers.append(m.data), EVENTS)
    topics = {
        name: world.node.create_publisher(String, f"scene_question/{name}", EVENTS)
        for name in ("question", "change_question")
    }

    def asked(topic: str, text: str) -> list[str]:
        topics[topic].publish(String(data=text))
        return answers

    processes.start("sim")
    processes.start("scene_question", model=model)
    until(lambda: world.says("scene_question", "waiting for a question"), what="the node")
    return asked


def test_questions_are_answered_over_the_current_frames(world, ask):
    until(lambda: ask("question", "which block is leftmost"), what="an answer")
    until(
        lambda: ask("question", "juggle seven oranges") and world.says("scene_question", "not understood"),
        what="a refusal that says why",
    )


def test_changes_are_asked_of_the_moment_of_the_instruction(world, ask):
    from std_msgs.msg import String

    from vla_ros.ros.qos import LATCHED

    sentence = world.node.create_publisher(String, "/instruction", LATCHED)
    until(
        lambda: (
            not ask("change_question", "was the drawer opened")
            and world.says("scene_question", "no moment to compare with")
        ),
        what="a refusal that says why",
    )

    def told() -> list[str]:
        """Said anew each time: where no picture is fresh at that moment, there is none to remember."""
        sentence.publish(String(data="open the drawer"))
        return ask("change_question", "was the drawer opened")

    until(told, what="an answer about two moments")


def test_a_moment_is_remembered_when_asked_to(world, ask):
    until(lambda: world.trigger("scene_question/remember")[0], what="a moment")
    until(lambda: ask("change_question", "was the drawer opened"), what="an answer about two moments")
