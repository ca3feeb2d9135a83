"""The world-model node beside simulator, policy and commander, as real processes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow
from waiting import until

pytestmark = pytest.mark.live


@pytest.fixture
def seen(world):
    """Predicted frames and comparisons of the front camera, as they come."""
    from sensor_msgs.msg import Image

    found = {"predicted": [], "comparison": []}
    for kind, messages in found.items():
        world.node.create_subscription(Image, f"/world_model/front/{kind}", messages.append, 10)
    return found


def figure(world, key: str) -> str:
    status = world.diagnostics.get("world_model")
    return next((pair.value for pair in status.values if pair.key == key), "") if status else ""


def steps(messages) -> list[int]:
    """From each frame to the next [ns]."""
    from vla_ros.ros.convert import to_ns

    stamps = [to_ns(message.header.stamp) for message in list(messages)]
    return [new - old for old, new in pairwise(stamps)]


def settled(world) -> int:
    """How many predictions there were, once three words of diagnostics tell the same; 0 where they do not."""
    count = figure(world, "predictions")
    for _ in range(3):
        last = world.diagnostics["world_model"]
        until(lambda last=last: world.diagnostics["world_model"] is not last, what="diagnostics")
    return int(count) if figure(world, "predictions") == count else 0


def test_frames_are_predicted_compared_saved_and_paused(world, processes, seen, tmp_path):
    from std_msgs.msg import String
    from std_srvs.srv import SetBool

    from vla_ros.ros.clients import ServiceCaller
    from vla_ros.ros.images import image_to_array
    from vla_ros.ros.qos import LATCHED

    processes.start("sim")
    processes.start("policy")
    processes.start("world_model", out=tmp_path / "saved", rate_hz=4.0)
    until(lambda: world.says("world_model", "waiting for an instruction"), 120, "the node")
    caller = ServiceCaller(world.node, 30.0)
    assert caller.trigger("world_model/save") == (False, "nothing has been predicted yet")
    sentence = world.node.create_publisher(String, "/instruction", LATCHED)
    sentence.publish(String(data="push the red block to the left"))
    until(lambda: len(seen["predicted"]) >= 2, what="predicted frames")
    until(lambda: 600_000_000 in steps(seen["predicted"]), what="frames of +0.6 and +1.2 s")
    frame = image_to_array(seen["predicted"][0])
    assert frame.shape == (64, 64, 3) and frame.std() > 10, "an imagined table is not one grey"
    until(lambda: seen["comparison"], what="a comparison once the moment has come")
    until(lambda: figure(world, "turns") == "listens to the policy", what="turns with the policy")
    # In all: on a fast machine most predictions end before the policy's next turn.
    until(lambda: float(figure(world, "waited_s")) > 0, what="a pause while the policy inferred")
    parts = np.split(image_to_array(seen["comparison"][-1])[18:, : 4 * 196 - 4], [196, 392, 588], axis=1)
    assert all(part[:, :192].std() > 1 for part in parts), "now, expected, what came, difference"

    done, path = caller.trigger("world_model/save")
    assert done and Pillow.open(Path(path)).size[0] == 3 * 196 - 4
    done, path = caller.trigger("world_model/save_video")
    assert done, path
    with av.open(path) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == 18 and frames[0].shape == (192, 384, 3), "now until +0.6 s, then two frames of 0.6 s"
    assert frames[0].std() > 10
    pause = SetBool.Request(data=True)
    assert caller._call(SetBool, "world_model/pause", pause).message == "paused"
    until(lambda: world.says("world_model", "paused"), what="the pause")
    before = until(lambda: settled(world), what="the end of the one under way")
    assert caller.trigger("world_model/predict")[0]
    until(lambda: int(figure(world, "predictions")) == before + 1, what="the one prediction that was asked for")

    with pytest.raises(Exception, match="mode must be forward or video"):
        caller.set_parameters("world_model", {"mode": "backward"})
    caller.set_parameters("world_model", {"mode": "video"})
    assert caller._call(SetBool, "world_model/pause", SetBool.Request(data=False)).success
    until(lambda: figure(world, "mode") == "video" and int(figure(world, "predictions")) > before + 3, what="video")


def test_a_jammed_joint_is_a_surprise_that_names_its_sign(world, processes):
    """The commander's orders go unheard: what follows is published, warned of, and said to come from the joints."""
    from std_msgs.msg import Float32, Float64MultiArray, String

    from vla_ros.ros.qos import COMMAND, LATCHED

    scores: list[float] = []
    world.node.create_subscription(Float32, "/world_model/surprise", lambda m: scores.append(m.data), 10)
    processes.start("sim")
    processes.start("world_model")
    until(lambda: world.says("world_model", "waiting for an instruction"), 120, "the node")
    world.node.create_publisher(String, "/instruction", LATCHED).publish(String(data="push the red block to the left"))
    until(lambda: scores, what="a score")
    quiet = max(scores)
    assert quiet < 1, f"a robot at rest surprises by {quiet}"
    orders = world.node.create_publisher(Float64MultiArray, "/joint_commands", COMMAND)
    target = [9.0, -9.0, 9.0, 0.0, 0.0, 0.0, 1.0]  # beyond every stop: the servos push, and nothing follows

    def surprised() -> bool:
        orders.publish(Float64MultiArray(data=target))
        return world.says("world_model", "surprised: arm follows")

    until(surprised, what="the surprise")
    until(lambda: surprised() and max(scores) >= 1, 10, "an alarm")


def test_a_new_scene_is_no_surprise(world, processes):
    """Everything lies elsewhere after a reset: what was imagined of the old scene is no measure of the new one."""
    from std_msgs.msg import Empty, Float32, String

    from vla_ros.ros.clients import ServiceCaller
    from vla_ros.ros.qos import LATCHED

    scores: list[float] = []
    told: list[Empty] = []
    world.node.create_subscription(Float32, "/world_model/surprise", lambda m: scores.append(m.data), 10)
    world.node.create_subscription(Empty, "/new_scene", told.append, 10)
    processes.start("sim")
    processes.start("world_model", mode="video", rate_hz=10.0)
    until(lambda: world.says("world_model", "waiting for an instruction"), 120, "the node")
    world.node.create_publisher(String, "/instruction", LATCHED).publish(String(data="push the red block to the left"))
    caller = ServiceCaller(world.node, 30.0)
    for number, task in enumerate(("push_left_red", "reach_red", "open_drawer", "push_left_red")):
        until(lambda: world.says("world_model", "predicting"), 30, "predictions")
        before = int(figure(world, "predictions"))
        until(lambda before=before: int(figure(world, "predictions")) > before + 2, what="expectations to disappoint")
        scores.clear()
        caller.set_parameters("sim", {"seed": 20_000 + number, "task": task})
        assert caller.trigger("sim/reset")[0]
        until(lambda number=number: len(told) == number + 1, what="the word of the reset")
        until(lambda: len(scores) >= 25, what="looks at the new scene")
        assert max(scores) < 1, f"the new scene of {task} surprises by {max(scores)}"
