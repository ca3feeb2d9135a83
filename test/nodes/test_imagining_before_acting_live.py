"""Imagining before acting, in the real policy node: its cost is said with every chunk, and a veto sends nothing."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory
from waiting import until

from vla_ros.ros.qos import COMMAND, EVENTS, LATCHED

pytestmark = pytest.mark.live

SENTENCE = "push the red block to the left"


def test_the_best_of_several_imagined_chunks_is_sent_and_its_cost_is_said(world, processes, tiny_model):
    timings: list[dict[str, str]] = []
    world.node.create_subscription(
        DiagnosticStatus, "policy/timing", lambda m: timings.append({v.key: v.value for v in m.values}), EVENTS
    )
    sentence = world.node.create_publisher(String, "/instruction", LATCHED)
    processes.start("sim")
    processes.start("policy", model=tiny_model, scorer="spread", candidates=3)
    until(lambda: world.says("policy", "waiting for an instruction"), what="the policy")
    sentence.publish(String(data=SENTENCE))
    until(lambda: len(timings) >= 5, what="chunks")
    assert all(float(timing["choice_ms"]) > 0 for timing in timings)


def test_a_veto_sends_nothing_says_why_and_is_no_failure(world, processes, tiny_model):
    chunks: list[JointTrajectory] = []
    world.node.create_subscription(JointTrajectory, "action_chunk", chunks.append, COMMAND)
    sentence = world.node.create_publisher(String, "/instruction", LATCHED)
    processes.start("sim")
    processes.start("policy", model=tiny_model, scorer="limits", candidates=2, veto_above=0.0)
    until(lambda: world.says("policy", "waiting for an instruction"), what="the policy")
    sentence.publish(String(data=SENTENCE))
    until(lambda: world.says("policy", "the best of 2 chunks scores"), what="the veto, by name")
    told = world.diagnostics["policy"]
    until(lambda: world.diagnostics["policy"] is not told, what="the next word")
    assert not chunks and not world.says("policy", "inactive")


def test_a_scorer_that_nobody_knows_is_refused_at_configure(processes, tiny_model):
    processes.start("policy", model=tiny_model, scorer="spred")
    until(lambda: "scorer 'spred' is not installed" in processes.output("policy"), what="the refusal by name")
