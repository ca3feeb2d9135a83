"""A policy that fails, in its real node: once is survived, again and again makes the node inactive and say why."""

from __future__ import annotations

from pathlib import Path

import pytest
from waiting import until

pytestmark = pytest.mark.live

SENTENCE = "push the red block to the left"
POLICY = """
import math
from pathlib import Path
from vla_ros.policies import uwm

MENDED = Path(__file__).with_name("mended")

class Failing(uwm.UWMPolicy):
    calls = 0

    def infer(self, observation):
        chunk = super().infer(observation)
        Failing.calls += 1
        if Failing.calls in {calls} and not MENDED.exists():
            {fault}
        return chunk

uwm.UWMPolicy = Failing

from vla_ros.nodes.policy import main

main()
"""
RAISES, POISONS = "raise RuntimeError('out of memory')", "chunk.actions[3, 2] = math.nan"
WARM_UP, SECOND, ALL_BUT_WARM_UP = "[1]", "[2]", "range(2, 100)"


@pytest.fixture
def start(processes, tiny_model, tmp_path):
    """Starts a policy node whose policy fails in the given calls."""

    def run(calls: str, fault: str):
        script = Path(tmp_path / "failing.py")
        script.write_text(POLICY.format(calls=calls, fault=fault))
        return processes.start("policy", script=script, model=tiny_model)

    return run


@pytest.fixture
def chunks(world) -> list[object]:
    """Every chunk that is published."""
    from trajectory_msgs.msg import JointTrajectory

    found: list[object] = []
    world.node.create_subscription(JointTrajectory, "action_chunk", found.append, 10)
    return found


def say(world) -> None:
    from std_msgs.msg import String

    from vla_ros.ros.qos import LATCHED

    world.sentence = world.node.create_publisher(String, "/instruction", LATCHED)
    world.sentence.publish(String(data=SENTENCE))


def test_three_failures_make_it_inactive_until_it_is_mended(world, processes, start, chunks, tmp_path):
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import GetState

    from vla_ros.ros.clients import ServiceCaller

    processes.start("sim")
    process = start(ALL_BUT_WARM_UP, POISONS)
    until(lambda: world.says("policy", "waiting for an instruction"), what="the policy")
    say(world)
    until(lambda: world.says("policy", "inactive after 3 failures"), what="the end of its patience")
    assert world.says("policy", "not finite")
    caller = ServiceCaller(world.node)
    until(lambda: caller.is_there(GetState, "policy/get_state"), what="its service")
    assert not caller.is_active("policy") and process.poll() is None and chunks == []
    (tmp_path / "mended").touch()
    assert caller.change_state("policy", Transition.TRANSITION_ACTIVATE)
    until(lambda: len(chunks) > 3 and world.says("policy", "planning"), what="plans")
    assert "Traceback" not in processes.output("policy")


def test_one_failure_costs_one_chunk(world, processes, start, chunks):
    processes.start("sim")
    start(SECOND, RAISES)
    until(lambda: world.says("policy", "waiting for an instruction"), what="the policy")
    say(world)
    until(lambda: len(chunks) > 5 and world.says("policy", "planning"), what="plans")
    assert "no chunk: out of memory" in processes.output("policy")


def test_a_policy_that_is_broken_from_the_start_does_not_configure(processes, start):
    process = start(WARM_UP, POISONS)
    assert process.wait(60) == 2
    assert "values that are not finite" in processes.output("policy")
    assert "Traceback" not in processes.output("policy")


def test_a_sentence_that_is_published_volatile_and_without_end_is_heard_and_changes_nothing(
    world, processes, tiny_model, chunks
):
    """As Foxglove and `ros2 topic pub` do. It was not heard; latched, it had every picture planned from."""
    import time

    from std_msgs.msg import String

    processes.start("sim")
    processes.start("policy", model=tiny_model)
    until(lambda: world.says("policy", "waiting for an instruction"), what="the policy")
    sentence = world.node.create_publisher(String, "/instruction", 10)
    timer = world.node.create_timer(0.05, lambda: sentence.publish(String(data=SENTENCE)))
    until(lambda: len(chunks) > 3, what="plans")
    before, start_s = len(chunks), time.monotonic()
    time.sleep(4.0)
    rate_hz = (len(chunks) - before) / (time.monotonic() - start_s)
    world.node.destroy_timer(timer)
    assert 1.0 < rate_hz < 6.5, f"{rate_hz:.1f} plans a second; every 2 steps of 0.1 s is 5, every picture is 10"
