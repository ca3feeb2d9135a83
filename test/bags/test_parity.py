"""What a live node would have assembled and what the exporter writes are the same frames, bit for bit."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
import pytest
from bag_files import Timed, steady, write_bag
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from std_msgs.msg import String

from vla_ros.bags.episodes.assembly import EpisodeOptions, Frame
from vla_ros.bags.episodes.frames import read_frames
from vla_ros.bags.reading.reader import open_bag
from vla_ros.core.robot import RobotSpec, load_robot
from vla_ros.core.streams.synchroniser import Synchroniser
from vla_ros.core.types import Observation
from vla_ros.datasets.export import export
from vla_ros.ros.convert import array_to_joint_state, command_message
from vla_ros.ros.images import array_to_image

TABLETOP = load_robot("ur5e_tabletop")
START = 10**18
Align = Literal["nearest", "hold", "drop"]


def robot(align: Align, history: int) -> RobotSpec:
    cameras = tuple(replace(camera, width=8, height=6) for camera in TABLETOP.cameras)
    return replace(TABLETOP, cameras=cameras, sync=replace(TABLETOP.sync, align=align, history=history))


def disturbed(spec: RobotSpec, seed: int) -> list[Timed]:
    """Four seconds in which stamps jitter, messages are lost, come late, out of order, doubled and broken."""
    rng = np.random.default_rng(seed)
    found: list[Timed] = [(START, spec.instruction_topic, String(data="reach"))]
    jitter_ms, late_ms, lost = rng.uniform(0, 30), rng.uniform(1, 120), rng.uniform(0, 0.3)

    def say(topic: str, stamp_ns: int, message: Any) -> None:
        if rng.random() < lost:
            return
        for _ in range(1 + (rng.random() < 0.05)):
            found.append((stamp_ns + int(rng.exponential(late_ms / 4) * 1e6), topic, message))

    for camera in spec.cameras:
        for k in range(40):
            stamp_ns = START + k * 100_000_000 + int(rng.normal() * jitter_ms / 3 * 1e6)
            image = array_to_image(rng.integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8), stamp_ns)
            if rng.random() < 0.02:
                image.step = 1
            say(camera.topic, stamp_ns, image)
    for k in range(400):
        stamp_ns = START + k * 10_000_000 + int(rng.normal() * 1e6)
        positions = rng.normal(size=7) if rng.random() > 0.01 else np.full(7, np.nan)
        say(spec.joint_states_topic, stamp_ns, array_to_joint_state(spec.joint_names, positions, stamp_ns))
        command = command_message(spec.command.type, spec.joint_names, rng.normal(size=7), stamp_ns, 10_000_000)
        found.append((stamp_ns, spec.command.topic, command))
    return found


class Live:
    """The policy node's side: the callbacks of `Inputs` on a node whose clock says when each message came."""

    def __init__(self, spec: RobotSpec) -> None:
        from vla_ros.ros.subscriptions import Inputs

        self.now_ns, self.seen = 0, dict[int, Observation]()
        self._callbacks: dict[str, Any] = {}
        self._synchroniser = Synchroniser(spec)
        self.inputs = Inputs(self, spec, self._synchroniser, spec.camera_names, self._on_image, print, print)

    def create_subscription(self, kind: Any, topic: str, callback: Any, qos: Any, **_: Any) -> None:
        says_who = topic == TABLETOP.instruction_topic  # is asked whose message it is: nobody knows here
        self._callbacks[topic] = (lambda message: callback(message, {})) if says_who else callback

    def get_clock(self) -> Any:
        return self

    def now(self) -> Any:
        return self

    @property
    def nanoseconds(self) -> int:
        return self.now_ns

    def get_logger(self) -> Any:
        return self

    def warning(self, *_: object, **__: object) -> None:
        return

    def hear(self, receive_ns: int, topic: str, message: Any) -> None:
        self.now_ns = receive_ns
        if topic in self._callbacks:
            self._callbacks[topic](message)

    def _on_image(self) -> None:
        """As `nodes/policy.py` does."""
        if self._synchroniser.instruction and (seen := self._synchroniser.observe(self.now_ns)) is not None:
            self.seen[seen.stamp_ns] = seen


def assert_equal(frame: Frame, live: Observation) -> None:
    assert frame.observation.stamp_ns == live.stamp_ns and frame.observation.instruction == live.instruction
    assert frame.observation.state.tobytes() == live.state.tobytes()
    assert list(frame.observation.images) == list(live.images)
    for name, image in live.images.items():
        assert frame.observation.images[name].tobytes() == image.tobytes()


@pytest.mark.parametrize("align", ["nearest", "drop", "hold"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), history=st.integers(1, 3))
def test_frames_of_random_streams_are_those_of_the_live_callbacks(align: Align, seed: int, history: int) -> None:
    spec, live = robot(align, history), Live(robot(align, history))
    messages = sorted(disturbed(spec, seed), key=lambda m: m[0])
    for message in messages:
        live.hear(*message)
    with TemporaryDirectory() as folder:
        with open_bag(write_bag(Path(folder) / "bag", messages)) as bag:
            frames = list(read_frames(bag, spec, EpisodeOptions(bridge=0)))
        held = [f for f in frames if f.observation.stamp_ns not in live.seen]
        for frame in frames:
            if frame.observation.stamp_ns in live.seen:
                assert_equal(frame, live.seen[frame.observation.stamp_ns])
        assert not held or align == "hold"  # a tick without a new observation: the one before it, at a later stamp
        for frame in held:
            assert any(frame.observation.state is seen.state for seen in (f.observation for f in frames))


def test_the_files_hold_what_the_callbacks_saw(tmp_path: Path) -> None:
    spec, live = robot("nearest", 1), Live(robot("nearest", 1))
    messages = sorted(disturbed(spec, 7), key=lambda m: m[0])
    for message in messages:
        live.hear(*message)
    bag = write_bag(tmp_path / "bag", messages)
    export([bag], spec, EpisodeOptions(bridge=0), "lerobot", tmp_path / "set", lossless=True)
    with open_bag(bag) as opened:
        frames = list(read_frames(opened, spec, EpisodeOptions(bridge=0)))
    rows = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet").to_pylist()
    assert len(rows) == len(frames) > 5
    for row, frame in zip(rows, frames, strict=True):
        seen = live.seen[frame.observation.stamp_ns]
        assert np.float32(row["observation.state"]).tobytes() == seen.state[-1].tobytes()
        for name in spec.camera_names:
            kept = np.asarray(Image.open(io.BytesIO(row[f"observation.images.{name}"]["bytes"])))
            assert kept.tobytes() == seen.images[name][-1].tobytes()


@pytest.mark.live
def test_frames_are_those_that_a_live_node_assembled(rclpy_context: object, tmp_path: Path) -> None:
    """Real messages over DDS into `Inputs`; the bag has each message as the node's callback took it."""
    import rclpy
    from live_topics import publish_in_time

    from vla_ros.ros.ingest import Source
    from vla_ros.ros.subscriptions import Inputs

    node, heard, seen = rclpy.create_node("policy_like"), list[Timed](), dict[int, Observation]()
    synchroniser = Synchroniser(TABLETOP)

    class Listening(Inputs):
        def take(self, source: Source, message: Any, now_ns: int) -> bool:
            heard.append((now_ns, source.topic, message))
            return super().take(source, message, now_ns)

    def on_image() -> None:
        now_ns = heard[-1][0]
        if synchroniser.instruction and (found := synchroniser.observe(now_ns)) is not None:
            seen[found.stamp_ns] = found

    inputs = Listening(node, TABLETOP, synchroniser, TABLETOP.camera_names, on_image, lambda _: None, lambda: None)
    commands = publish_in_time(node, TABLETOP, steady(TABLETOP, 3.0, START))
    inputs.close()
    node.destroy_node()
    with open_bag(write_bag(tmp_path / "bag", heard + commands)) as bag:
        frames = list(read_frames(bag, TABLETOP, EpisodeOptions(bridge=0)))
    assert len(frames) > 15
    for frame in frames:
        assert_equal(frame, seen[frame.observation.stamp_ns])
