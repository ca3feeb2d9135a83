"""A bag recorded from a running policy gives that policy's chunks again: the loop is the same code."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_files import Timed, write_bag
from live_nodes import edited_robot
from waiting import until

from vla_ros.cli.main import main
from vla_ros.core.robot import load_robot
from vla_ros.ros.convert import to_ns

pytestmark = pytest.mark.live

ROBOT = load_robot("ur5e_tabletop")
# A camera of another size than the model's, upside down: live node and bag must give the same pixels nevertheless.
OWN_CAMERA = (
    "/front/image_raw, encoding: rgb8, width: 64, height: 64",
    "/front/image_raw, width: 640, height: 480, crop: {x: 80, y: 0, width: 480, height: 480}, rotate: 180",
)
SENTENCES = ("push the red block to the left", "lift the blue block")


def record(node: Any) -> list[Timed]:
    """What is said on the demo's topics from now on, and when it was sent: the test may be late to hear it."""
    from diagnostic_msgs.msg import DiagnosticStatus
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image, JointState
    from std_msgs.msg import Float64MultiArray, String
    from trajectory_msgs.msg import JointTrajectory

    from vla_ros.ros.qos import LATCHED

    heard: list[Timed] = []
    sensor, said = QoSProfile(depth=500, reliability=ReliabilityPolicy.BEST_EFFORT), QoSProfile(depth=500)
    topics = [(camera.topic, Image, sensor) for camera in ROBOT.cameras]
    topics += [
        (ROBOT.joint_states_topic, JointState, sensor),
        (ROBOT.instruction_topic, String, LATCHED),
        (ROBOT.command.topic, Float64MultiArray, said),
        ("/action_chunk", JointTrajectory, said),
        ("/policy/timing", DiagnosticStatus, said),
    ]
    for topic, kind, qos in topics:
        node.create_subscription(kind, topic, taker(heard, topic), qos)
    return heard


def taker(heard: list[Timed], topic: str) -> Callable[[Any, Any], None]:
    def take(message: Any, info: Any) -> None:
        heard.append((info["source_timestamp"], topic, message))

    return take


def unambiguous(heard: list[Timed]) -> list[Timed]:
    """Without the chunks of pictures that came beside a new sentence: policy and bag may have heard the two in
    different orders."""
    told = [at for at, topic, _ in heard if topic == ROBOT.instruction_topic]
    return [
        (at, topic, message)
        for at, topic, message in heard
        if topic != "/action_chunk" or all(abs(to_ns(message.header.stamp) - said) > 150_000_000 for said in told)
    ]


@pytest.fixture
def bag(world: Any, processes: Any, tiny_model: Path, tmp_path: Path, request: Any) -> Path:
    """Some seconds of the tabletop under two sentences, with the commander armed."""
    from std_msgs.msg import String

    from vla_ros.ros.qos import LATCHED

    heard = record(world.node)
    sentence = world.node.create_publisher(String, "/instruction", LATCHED)
    robot = edited_robot(tmp_path, *OWN_CAMERA)
    processes.start("sim", robot=robot)
    processes.start("policy", robot=robot, model=tiny_model, execution=request.param)
    processes.start("commander", robot=robot, execution=request.param)
    until(lambda: world.says("policy", "waiting for an instruction"), what="the policy")
    for number, words in enumerate(SENTENCES, 1):
        sentence.publish(String(data=words))
        until(lambda: world.says("policy", "planning"), what="plans")
        until(lambda: world.trigger("commander/arm")[0], what="arming")
        wanted = 8 * number
        until(lambda wanted=wanted: sum(t == "/action_chunk" for _, t, _ in heard) >= wanted, what="chunks")
    processes.close()
    time.sleep(0.2)
    return write_bag(tmp_path / "bag", unambiguous(heard))


@pytest.mark.parametrize(
    "bag", ["receding_horizon", pytest.param("real_time_chunking", marks=pytest.mark.slow)], indirect=True
)
def test_the_recorded_policy_repeats_itself(
    bag: Path, tiny_model: Path, tmp_path: Path, capfd: Any, request: Any
) -> None:
    execution = request.node.callspec.params["bag"]
    words = ["eval", "bag", str(bag), "--policy", str(tiny_model), "--execution", execution, "--json"]
    words += ["--robot", str(tmp_path / "robot.yaml")]
    words += ["--pictures", str(tmp_path / "pictures"), "--fail-above", "chunks.max_error=1e-4"]
    code = main(words)
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert code == 0, told
    assert told["chunks"]["compared"] >= 12 and told["chunks_without_observation"] <= 1
    assert told["chunks"]["max_error"] < 1e-4 and told["chunks"]["gripper_agreement"] > 0.999
    assert told["commands"]["compared"] > 0 and len(told["chunks"]["mae_per_step"]) == 12
    assert set(told["chunks"]["mae_per_joint"]) == set(ROBOT.joint_names)
    assert Path(told["worst"][0]["picture"]).is_file()
    if execution == "receding_horizon":
        another_policy_does_not_pass(bag, tiny_model, tmp_path, capfd)


def another_policy_does_not_pass(bag: Path, tiny_model: Path, tmp_path: Path, capfd: Any) -> None:
    from safetensors.numpy import load_file, save_file

    other = tmp_path / "other"
    other.mkdir()
    for file in tiny_model.iterdir():
        if file.name != "manifest.json":  # which ties the files together
            (other / file.name).write_bytes(file.read_bytes())
    weights = load_file(other / "model.safetensors")
    rng = np.random.default_rng(1)
    weights = {n: (w + 0.02 * rng.normal(size=w.shape)).astype(w.dtype) for n, w in weights.items()}
    save_file(weights, other / "model.safetensors")
    words = ["eval", "bag", str(bag), "--policy", str(other), "--json", "--fail-above", "chunks.max_error=1e-4"]
    words += ["--robot", str(tmp_path / "robot.yaml")]
    assert main(words) == 1
    assert "chunks.max_error is" in capfd.readouterr().err
