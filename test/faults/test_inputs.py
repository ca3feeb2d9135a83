"""Wrong images and sentences at the policy node, with the arm in motion under its plans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alterations import Alter, Bomb, Frozen, Late, ahead, lacking, mute, noise, resized, short, with_fields
from harness import Graph, hold_under, moves_under, rss_mb, running_graph

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Graph]:
    """The robot with policy and commander. `front` is a raw camera, `wrist` a compressed one."""
    with running_graph(tmp_path_factory.mktemp("graph")) as found:
        found.start("policy", model=tiny_model)
        found.start("commander")
        yield found


@pytest.mark.parametrize(
    ("fault", "topic", "alter", "cause"),
    [
        ("camera stops", "front", mute, "camera 'front': stale"),
        ("camera freezes: old stamps", "wrist", Frozen(), "camera 'wrist': stale"),
        ("one of two cameras a second late", "front", Late(20), "camera 'front': stale"),
        ("image stamps of the future", "front", ahead, "s in the future"),
        ("policy: joint states stop", "joint_states", mute, "joint states: stale"),
        ("policy: a joint is missing", "joint_states", lacking, "joint states lack elbow_joint"),
        ("image of another encoding", "front", with_fields(encoding="bgr8"), "image encoding is 'bgr8'"),
        ("image of no known encoding", "front", with_fields(encoding="rgb9"), "image encoding 'rgb9' is not known"),
        ("image step too small", "front", with_fields(step=64), "image step is 64; 64 pixels of rgb8 need 192"),
        ("image data too short", "front", short, "image data holds 6144 bytes"),
        ("resolution changes", "front", resized, "camera 'front': the image is "),
        ("resolution changes, JPEG", "wrist", resized, "camera 'wrist': the image is "),
        ("JPEG cut in half", "wrist", short, "compressed image cannot be decoded"),
        ("JPEG of noise", "wrist", noise, "compressed image cannot be decoded"),
    ],
)
def test_wrong_inputs(graph: Graph, row: Any, fault: str, topic: str, alter: Alter, cause: str) -> None:
    line = row(fault, "refused; hold on a stale plan")
    hold_under(graph, line, lambda: graph.robot.alter.update({topic: alter}), ("policy", cause))


def test_a_decompression_bomb(graph: Graph, row: Any) -> None:
    line = row("PNG that unpacks to 1.2 GB", "refused by its header; memory flat")
    before_mb, bomb = rss_mb(graph.running["policy"].pid), Bomb()
    cause = ("policy", "exceeds limit of")
    hold_under(graph, line, lambda: graph.robot.alter.update(wrist=bomb), cause)
    grown_mb = rss_mb(graph.running["policy"].pid) - before_mb
    line.observed += f" ({grown_mb:+.0f} MB)"
    assert grown_mb < 50


def test_a_camera_a_little_late(graph: Graph, row: Any) -> None:
    line = row("one of two cameras 0.1 s late", "synchronised by stamp; goes on")
    moves_under(graph, line, lambda: graph.robot.alter.update(wrist=Late(2)))


@pytest.mark.parametrize(
    ("fault", "say", "cause"),
    [
        ("instruction empty", lambda robot: robot.say(""), "waiting for an instruction"),
        ("instruction of 1 MB", lambda robot: robot.say("x" * 1_000_000), "1000000 characters, must be"),
        ("instruction not UTF-8", lambda robot: robot.say_bytes(b"push \xff\xfe\x80 left"), "is not UTF-8"),
        ("instruction of control characters", lambda robot: robot.say("push\x1b[2J\x00it"), "control characters"),
    ],
)
def test_wrong_sentences(graph: Graph, row: Any, fault: str, say: Callable[[Any], None], cause: str) -> None:
    line = row(fault, "no plans for it; hold")
    hold_under(graph, line, lambda: say(graph.robot), ("policy", cause))
