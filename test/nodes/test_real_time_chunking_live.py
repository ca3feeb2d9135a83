"""Real-time chunking through the graph: what the policy sends begins with what it sent before."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from live_nodes import patient_robot
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory
from waiting import until

from vla_ros.core.execution.knots import Knots
from vla_ros.core.types import ActionChunk
from vla_ros.ros.convert import trajectory_to_chunk
from vla_ros.ros.qos import COMMAND, LATCHED

pytestmark = pytest.mark.live

SENTENCE = "push the red block to the left"


def breaks(chunks: list[ActionChunk]) -> np.ndarray:
    """By how much each chunk's first action differs from the plan of the one before at that time [rad], arm joints."""
    pairs = [(old, new) for old, new in itertools.pairwise(chunks) if new.start_ns <= old.end_ns]
    return np.array([np.abs(new.actions[0] - Knots.of(old).at(new.start_ns))[:6].max() for old, new in pairs])


@pytest.mark.parametrize("execution", ["real_time_chunking", "receding_horizon"])
def test_chunks_continue_each_other_only_with_real_time_chunking(world, processes, tiny_model, tmp_path, execution):
    chunks: list[ActionChunk] = []
    world.node.create_subscription(
        JointTrajectory, "action_chunk", lambda message: chunks.append(trajectory_to_chunk(message)), COMMAND
    )
    sentence = world.node.create_publisher(String, "/instruction", LATCHED)
    processes.start("sim")
    processes.start("policy", model=tiny_model, execution=execution)
    processes.start("commander", execution=execution, robot=patient_robot(tmp_path))
    until(lambda: world.says("policy", "waiting for an instruction"), what="the policy")
    sentence.publish(String(data=SENTENCE))
    until(lambda: world.says("policy", "planning"), what="plans")
    until(lambda: world.trigger("commander/arm")[0], what="arming")

    def undisturbed() -> int | None:
        """The number of the first of 13 chunks, during which the commander was in no fault."""
        first = len(chunks)
        until(lambda: len(chunks) > first + 12, what="chunks")
        if not world.says("commander", "fault: "):
            return first
        until(lambda: world.trigger("commander/arm")[0], what="arming again")
        return None

    first = next(number for number in (undisturbed() for _ in range(3)) if number is not None)
    found = breaks(chunks[first + 2 : first + 13])
    assert len(found) >= 8
    if execution == "real_time_chunking":
        assert np.median(found) < 1e-3, found
    else:
        assert np.median(found) > 1e-3, found


def test_a_policy_that_cannot_continue_is_refused_by_name(processes, tiny_model, tmp_path):
    script = tmp_path / "policy.py"
    script.write_text(
        "from vla_ros.policies import uwm\ndel uwm.UWMPolicy.continue_plan\n"
        "from vla_ros.nodes.policy import main\nmain()\n"
    )
    process = processes.start("policy", script=script, model=tiny_model, execution="real_time_chunking")
    assert process.wait(60) == 2
    output = processes.output("policy")
    assert "cannot continue a plan" in output and "Traceback" not in output
