"""Simulator, policy and commander as real processes: a policy killed in mid-motion, wrong inputs, large images."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from live_nodes import edited_robot, patient_robot
from waiting import until

pytestmark = pytest.mark.live

SENTENCE = "push the red block to the left"


class Watcher:
    """Records joint states and commands with their arrival times; tells the robot what to do."""

    def __init__(self, world) -> None:
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Bool, Float64MultiArray, String

        from vla_ros.ros.qos import LATCHED, SENSOR

        self.positions: list[tuple[float, np.ndarray]] = []
        self.commands: list[tuple[float, np.ndarray]] = []  # when they were sent, by the wall clock
        self.success: list[bool] = []
        node = world.node
        self.instruction = node.create_publisher(String, "/instruction", LATCHED)
        node.create_subscription(
            JointState,
            "/joint_states",
            lambda m: self.positions.append((time.monotonic(), np.array(m.position))),
            SENSOR,
        )
        node.create_subscription(
            Float64MultiArray,
            "/joint_commands",
            lambda m, info: self.commands.append((info["source_timestamp"] / 1e9, np.array(m.data))),
            50,
        )
        node.create_subscription(Bool, "/sim/success", lambda m: self.success.append(m.data), LATCHED)

    def say(self, sentence: str) -> None:
        from std_msgs.msg import String

        self.instruction.publish(String(data=sentence))

    def moved_since(self, start_s: float) -> float:
        recent = np.array([q for t, q in self.positions if t >= start_s])
        return float(np.abs(recent - recent[0])[:, :6].max()) if len(recent) > 1 else 0.0

    def commands_since(self, sent_s: float) -> np.ndarray:
        """Those sent after `sent_s` of the wall clock."""
        return np.array([q for t, q in self.commands if t > sent_s])

    def rests_since(self, start_s: float) -> bool:
        """Whether the arm stood still in the newest 20 of at least 20 positions heard."""
        recent = np.array([q for t, q in self.positions if t >= start_s])[-20:]
        return len(recent) == 20 and float(np.ptp(recent[:, :6], axis=0).max()) < 1e-3


@pytest.fixture
def watcher(world) -> Watcher:
    return Watcher(world)


def test_a_killed_policy_leaves_the_arm_held_and_a_new_one_goes_on(world, processes, watcher, tiny_model, tmp_path):
    processes.start("sim")
    policy = processes.start("policy", model=tiny_model)
    processes.start("commander", robot=patient_robot(tmp_path))
    until(lambda: world.says("policy", "waiting for an instruction"), what="the policy")
    watcher.say(SENTENCE)
    until(lambda: world.says("policy", "planning"), what="plans")
    until(lambda: world.trigger("commander/arm")[0], what="arming")
    started = time.monotonic()
    until(world.goes_on(lambda: watcher.moved_since(started) > 0.02), what="motion")
    policy.send_signal(signal.SIGKILL)
    killed, killed_wall = time.monotonic(), time.time()
    until(lambda: world.says("commander", "waiting for a fresh plan: the plan is stale"), 5.0, "the wait")
    told = time.monotonic() - killed
    until(lambda: len(watcher.commands_since(killed_wall + 1.0)) > 20, 5.0, "commands that hold")
    assert told < 1.5, f"the reason came after {told:.2f} s"
    until(lambda: watcher.rests_since(killed + told), 10.0, "the arm at rest")  # a busy simulator takes its time
    rested = time.monotonic()
    until(lambda: world.says("commander", "fault: the plan is stale"), 5.0, "the fault")

    del world.diagnostics["policy"]  # the last word of the one that was killed was the same
    processes.start("policy", model=tiny_model)  # the sentence is latched: nobody says it again
    until(lambda: world.says("policy", "planning"), what="the new policy")
    held = watcher.commands_since(killed_wall + 1.0)
    assert np.ptp(held, axis=0).max() < 1e-3, "commands moved after the kill, and nobody had armed again"
    assert watcher.moved_since(rested) < 0.01, "a restarted policy moved a robot that nobody armed again"
    assert np.abs(watcher.positions[-1][1] - held[-1])[:6].max() < 0.01, "the arm is not where it is held"
    until(lambda: world.trigger("commander/arm")[0], what="arming again")
    armed = time.monotonic()
    until(world.goes_on(lambda: watcher.moved_since(armed) > 0.01), what="motion after arming again")


def test_the_simulator_resets_judges_and_keeps_time(world, processes, watcher):
    from vla_ros.ros.clients import ServiceCaller

    processes.start("sim", camera_rate_hz=10.0)
    until(lambda: len(watcher.positions) > 50, what="joint states")
    caller = ServiceCaller(world.node)
    caller.set_parameters("sim", {"seed": 4, "task": "lift_red"})
    done, message = caller.trigger("sim/reset")
    assert done and json.loads(message) == {"task": "lift_red", "seed": 4, "instruction": "lift the red block"}
    first = watcher.positions[-1][1]
    caller.set_parameters("sim", {"seed": 5})
    assert caller.trigger("sim/reset")[0]
    until(lambda: not np.allclose(watcher.positions[-1][1], first, atol=1e-4), 10, "another place")
    until(lambda: watcher.success, what="success")
    assert watcher.success[-1] is False
    with pytest.raises(Exception, match="did you mean 'lift_red'"):
        caller.set_parameters("sim", {"task": "lift_rod"})

    def rate() -> float:
        count, started = len(watcher.positions), time.monotonic()
        time.sleep(1.0)
        return (len(watcher.positions) - count) / (time.monotonic() - started)

    until(lambda: rate() > 70, 20, "70 joint states a second")
    until(lambda: world.says("sim", "running"), what="real time")


def replace_text(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def test_a_camera_with_a_wrong_encoding_is_named(world, processes, watcher, tiny_model, tmp_path):
    robot = edited_robot(tmp_path, "topic: /front/image_raw, encoding: rgb8", "topic: /front/image_raw, encoding: bgr8")
    processes.start("sim")
    processes.start("policy", model=tiny_model, robot=robot)
    until(lambda: world.says("policy", "waiting for an instruction"), what="the policy")
    watcher.say(SENTENCE)
    wanted = "encoding is 'rgb8'; the robot's YAML says 'bgr8'"
    until(lambda: any(wanted in pair.value for pair in world.diagnostics["policy"].values), what="the reason")
    assert next(pair.value for pair in world.diagnostics["policy"].values if pair.key == "chunks") == "0"


def test_sentences_that_cannot_be_obeyed_stop_the_plans(world, processes, watcher, tiny_model):
    processes.start("sim")
    processes.start("policy", model=tiny_model)
    until(lambda: world.says("policy", "waiting for an instruction"), what="the policy")
    watcher.say(SENTENCE)
    until(lambda: world.says("policy", "planning"), what="plans")
    watcher.say("x" * 10_000)
    until(lambda: world.says("policy", "10000 characters, must be at most 512"), what="the reason")
    watcher.say("")
    until(lambda: world.says("policy", "waiting for an instruction"), what="the end of the plans")
    watcher.say(SENTENCE)
    until(lambda: world.says("policy", "planning"), what="plans again")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda m: (m / "statistics.json").unlink(), "normalisation statistics"),
        (lambda m: os.truncate(m / "model.safetensors", 1000), "truncated or not a safetensors file"),
        (lambda m: shutil.rmtree(m), "no model folder"),
        (
            lambda m: (m / "config.yaml").write_text((m / "config.yaml").read_text().replace("front", "frond")),
            "'frond'",
        ),
    ],
)
def test_a_wrong_model_is_one_line_and_an_exit_code(processes, tiny_model, tmp_path, damage, complaint):
    model = Path(shutil.copytree(tiny_model, tmp_path / "model", ignore=shutil.ignore_patterns("manifest.json")))
    damage(model)
    process = processes.start("policy", model=model)
    assert process.wait(60) == 2
    output = processes.output("policy")
    assert complaint in output and "Traceback" not in output


def test_large_images_arrive_with_the_profile(world, processes, tmp_path):
    """640x480 frames, which the default shared-memory segment loses nearly all of."""
    from sensor_msgs.msg import Image

    from vla_ros.ros.qos import CROWD

    seen: list[tuple[int, int]] = []  # numbers of the frames, and their sizes
    world.node.create_subscription(
        Image,
        "/overview/image_raw",
        lambda m, info: seen.append((info["publication_sequence_number"], len(m.data))),
        CROWD,  # deep enough that a reader who is late loses none: what is missing got lost on its way
    )
    processes.start("sim", overview_width=640, overview_height=480, camera_rate_hz=10.0)
    until(lambda: len(seen) >= 20, what="frames")
    numbers, sizes = zip(*seen, strict=True)
    assert set(sizes) == {640 * 480 * 3}
    sent = numbers[-1] - numbers[0] + 1
    assert len(seen) >= 0.7 * sent, f"{len(seen)} of {sent} frames arrived"


@pytest.mark.parametrize("node", ["sim", "policy"])
def test_sigterm_ends_with_zero(world, processes, tiny_model, node):
    process = processes.start(node, **({"model": tiny_model} if node == "policy" else {}))
    until(lambda: node in world.diagnostics, what=node)
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    assert process.wait(30) == 0
    assert time.monotonic() - started < 5.0  # 2 s where nothing else runs


def test_joint_trajectories_move_the_simulator_too(world, processes, watcher, tiny_model, tmp_path):
    robot = edited_robot(tmp_path, "type: Float64MultiArray", "type: JointTrajectory")
    processes.start("sim", robot=robot)
    processes.start("policy", model=tiny_model, robot=robot)
    until(lambda: world.says("policy", "waiting for an instruction"), what="the policy")
    processes.start("commander", robot=robot, auto_arm=True)  # last: what loads a model may starve the simulator
    until(lambda: world.says("commander", "armed") and not world.says("commander", "disarmed"), what="arming")
    started = time.monotonic()
    watcher.say(SENTENCE)
    until(world.goes_on(lambda: watcher.moved_since(started) > 0.02), what="motion")
    assert watcher.commands == []  # nothing on the topic's other type


def test_simulated_time_stamps_everything_and_never_goes_back(world, processes):
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import JointState

    from vla_ros.ros.convert import to_ns
    from vla_ros.ros.qos import SENSOR

    clock: list[int] = []
    stamps: list[int] = []
    world.node.create_subscription(Clock, "/clock", lambda m: clock.append(to_ns(m.clock)), 10)
    world.node.create_subscription(JointState, "/joint_states", lambda m: stamps.append(to_ns(m.header.stamp)), SENSOR)
    processes.start("sim", publish_clock=True)
    until(lambda: len(clock) > 100 and len(stamps) > 100, what="simulated time")
    assert (np.diff(clock) >= 0).all() and (np.diff(stamps) > 0).all()
    assert stamps[-1] < 60e9, "stamps are not simulated time"
