"""Streams become observations by stamp, and only by stamp."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_robot import MS, small_robot

from vla_ros.core.contract import CameraContract
from vla_ros.core.errors import MessageError
from vla_ros.core.robot import RobotSpec, SyncSpec
from vla_ros.core.robot_parts import CropSpec
from vla_ros.core.streams.admission import check_instruction, check_order
from vla_ros.core.streams.synchroniser import StreamBuffer, Synchroniser
from vla_ros.core.types import Observation

T0 = 1_000_000 * MS


def image(value: int) -> np.ndarray:
    return np.full((3, 4, 3), value, dtype=np.uint8)


def feed(sync: Synchroniser, stamp_ns: int, value: int = 0, wrist_ns: int | None = None) -> None:
    sync.push_image("front", stamp_ns, image(value))
    sync.push_image("wrist", stamp_ns if wrist_ns is None else wrist_ns, image(value + 100))
    sync.push_state(stamp_ns, [value / 100, 0.0, 0.0])


def observed(sync: Synchroniser, now_ns: int) -> Observation:
    observation = sync.observe(now_ns)
    assert observation is not None, sync.reason
    return observation


@given(st.lists(st.integers(0, 200)), st.integers(1, 8))
def test_buffer_is_ordered_bounded_and_keeps_the_newest(stamps: list[int], capacity: int) -> None:
    buffer: StreamBuffer[int] = StreamBuffer(capacity)
    newest = -1
    for stamp in stamps:
        assert buffer.push(stamp, stamp) == (stamp > newest)
        newest = max(newest, stamp)
    assert len(buffer) <= capacity
    assert buffer.newest_ns == (newest if stamps else None)


@given(st.sets(st.integers(0, 1000), min_size=1, max_size=30), st.integers(-10, 1010))
def test_nearest_is_nearest(stamps: set[int], wanted: int) -> None:
    buffer: StreamBuffer[int] = StreamBuffer(30)
    for stamp in sorted(stamps):
        buffer.push(stamp, -stamp)
    nearest = buffer.nearest(wanted)
    assert nearest is not None
    assert abs(nearest[0] - wanted) == min(abs(stamp - wanted) for stamp in stamps)
    assert nearest[1] == -nearest[0]


def test_a_flood_does_not_push_the_history_out() -> None:
    sync = Synchroniser(small_robot(SyncSpec(history=3)))
    for ms in range(0, 3000):
        feed(sync, T0 + ms * MS, ms // 20)
    observation = observed(sync, T0 + 3000 * MS)
    assert observation.stamp_ns == T0 + 2999 * MS
    assert observation.images["front"][-1, 0, 0, 0] == 149
    assert all(len(stream) < 1000 for stream in sync._streams)
    span = observation.images["front"][:, 0, 0, 0].astype(int)
    np.testing.assert_allclose(np.diff(span), 5, atol=3)  # 100 ms apart, at 20 ms a grey level


def test_nothing_comes_before_everything_is_there() -> None:
    sync = Synchroniser(small_robot())
    assert sync.observe(T0) is None
    assert sync.reason == "camera 'front': nothing received yet"
    sync.push_image("front", T0, image(1))
    sync.push_image("wrist", T0, image(2))
    assert sync.observe(T0) is None
    assert sync.reason == "joint states: nothing received yet"
    sync.push_state(T0, [0.1, 0.2, 0.3])
    sync.set_instruction("  push the red block ")
    observation = observed(sync, T0)
    assert observation.stamp_ns == T0
    assert observation.instruction == "push the red block"
    assert observation.images["wrist"].shape == (1, 3, 4, 3)
    np.testing.assert_allclose(observation.state, [[0.1, 0.2, 0.3]])


def test_the_same_stamp_is_new_only_once() -> None:
    sync = Synchroniser(small_robot())
    feed(sync, T0)
    observed(sync, T0)
    sync.push_state(T0 + 10 * MS, [0.0, 0.0, 0.0])
    assert sync.observe(T0 + 10 * MS) is None
    assert sync.reason == ""
    again = sync.observe(T0 + 10 * MS, repeat=True)
    assert again is not None
    assert again.stamp_ns == T0


def test_history_is_oldest_first_and_begins_with_the_first_frame_repeated() -> None:
    sync = Synchroniser(small_robot(), history=3, history_step_s=0.2)
    for step in range(6):
        feed(sync, T0 + step * 100 * MS, step)
        values = observed(sync, T0 + step * 100 * MS).images["front"][:, 0, 0, 0]
        assert values.tolist() == [max(step - 4, 0), max(step - 2, 0), step]


def test_one_lost_frame_of_the_past_is_bridged_and_a_gap_is_not() -> None:
    sync = Synchroniser(small_robot(), history=2)
    for step in (0, 1, 3):
        feed(sync, T0 + step * 100 * MS, step)
    assert observed(sync, T0 + 300 * MS).images["front"][:, 0, 0, 0].tolist() == [1, 3]
    feed(sync, T0 + 700 * MS, 7)
    assert sync.observe(T0 + 700 * MS) is None
    assert "a gap of 0.30 s in the history" in sync.reason


def test_cameras_out_of_step_are_matched_by_stamp() -> None:
    sync = Synchroniser(small_robot())
    for step in range(5):
        sync.push_state(T0 + step * 100 * MS, [0.0, 0.0, 0.0])
        sync.push_image("front", T0 + step * 100 * MS, image(step))
    sync.push_image("wrist", T0 + 210 * MS, image(50))
    observation = observed(sync, T0 + 400 * MS)
    assert observation.stamp_ns == T0 + 210 * MS
    assert observation.images["front"][0, 0, 0, 0] == 2


def test_cameras_set_the_moment_and_joint_states_are_looked_up_at_it() -> None:
    sync = Synchroniser(small_robot())
    feed(sync, T0)
    feed(sync, T0 + 100 * MS)
    sync.push_state(T0 + 190 * MS, [0.5, 0.0, 0.0])
    for camera in ("front", "wrist"):
        sync.push_image(camera, T0 + 200 * MS, image(2))
    observation = observed(sync, T0 + 200 * MS)
    assert observation.stamp_ns == T0 + 200 * MS
    assert observation.state[0, 0] == 0.5
    sync.push_state(T0 + 200 * MS, [0.6, 0.0, 0.0])
    assert sync.observe(T0 + 210 * MS) is None


@pytest.mark.parametrize(("off_ms", "matched"), [(0, True), (50, True), (-50, True), (51, False), (-51, False)])
def test_tolerance_is_exact(off_ms: int, matched: bool) -> None:
    sync = Synchroniser(small_robot(SyncSpec(tolerance_s=0.05)))
    feed(sync, T0, wrist_ns=T0 + off_ms * MS)
    assert (sync.observe(T0 + 60 * MS) is not None) == matched
    if not matched:
        assert "off the others (tolerance 0.05 s)" in sync.reason


def test_stale_is_judged_by_stamp_not_by_arrival() -> None:
    sync = Synchroniser(small_robot())
    feed(sync, T0)
    assert sync.observe(T0 + 501 * MS) is None
    assert sync.reason == "camera 'front': stale, 0.50 s old (limit 0.5 s)"


def test_a_stamp_from_the_future_is_refused_or_forgotten() -> None:
    sync = Synchroniser(small_robot())
    with pytest.raises(MessageError, match=r"camera 'front': the stamp lies 0.200 s in the future"):
        sync.push_image("front", T0 + 200 * MS, image(0), now_ns=T0)
    with pytest.raises(MessageError, match="joint states: the stamp lies"):
        sync.push_state(T0 + 200 * MS, [0, 0, 0], now_ns=T0)
    feed(sync, T0)
    feed(sync, T0 + 3_600_000 * MS)
    assert observed(sync, T0).stamp_ns == T0
    feed(sync, T0 + 100 * MS)
    assert observed(sync, T0 + 100 * MS).stamp_ns == T0 + 100 * MS


def test_a_clock_that_jumps_back_begins_anew() -> None:
    sync = Synchroniser(small_robot())
    sync.set_instruction("lift")
    feed(sync, T0, 1)
    observed(sync, T0)
    sync.reset()
    feed(sync, T0 - 9000 * MS, 2)
    observation = observed(sync, T0 - 9000 * MS)
    assert observation.images["front"][0, 0, 0, 0] == 2
    assert observation.instruction == "lift"


@pytest.mark.parametrize(
    "wrong", [np.zeros((3, 4), np.uint8), np.zeros((3, 4, 3)), np.zeros((3, 4, 4), "u1"), np.zeros((0, 4, 3), "u1")]
)
def test_images_of_another_shape_or_type_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(MessageError, match=r"camera 'front': the image must be uint8 \(3, 4, 3\), got "):
        Synchroniser(small_robot()).push_image("front", T0, wrong)


def test_an_image_of_another_size_than_declared_is_refused() -> None:
    with pytest.raises(MessageError, match="camera 'front': the image is 3x4; the robot's YAML says 4x3"):
        Synchroniser(small_robot()).push_image("front", T0, np.zeros((4, 3, 3), np.uint8))


def any_size(**changes: object) -> RobotSpec:
    robot = small_robot()
    return replace(robot, cameras=tuple(replace(c, width=0, height=0, **changes) for c in robot.cameras))


def test_a_camera_of_any_size_must_keep_it_until_all_begins_anew() -> None:
    sync = Synchroniser(any_size())
    sync.push_image("front", T0, np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(
        MessageError, match="camera 'front': the image is 32x24, the first was 64x48; a camera must not"
    ):
        sync.push_image("front", T0 + 100 * MS, np.zeros((24, 32, 3), np.uint8))
    sync.push_image("wrist", T0, np.zeros((24, 32, 3), np.uint8))
    sync.reset()
    assert sync.push_image("front", T0 + 200 * MS, np.zeros((24, 32, 3), np.uint8))


def test_a_refused_picture_decides_no_size() -> None:
    sync = Synchroniser(any_size(crop=CropSpec(0, 0, 40, 40)))
    with pytest.raises(MessageError, match="must lie in the picture, which is 8x8"):
        sync.push_image("front", T0, np.zeros((8, 8, 3), np.uint8))
    assert sync.push_image("front", T0, np.zeros((48, 64, 3), np.uint8))


def test_a_model_gets_its_own_size_and_everybody_else_the_cameras() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    robot = any_size(crop=CropSpec(0, 0, 40, 48), rotate=90)
    model = (CameraContract("front", 8, 6, "letterbox"), CameraContract("wrist", 5, 7))
    for cameras, sizes in ((model, [(6, 8), (7, 5)]), (None, [(40, 48), (40, 48)])):
        sync = Synchroniser(robot, cameras=cameras)
        for name in ("front", "wrist"):
            sync.push_image(name, T0, image)
        sync.push_state(T0, [0.0, 0.0, 0.0])
        images = observed(sync, T0).images
        assert [images[name].shape[1:3] for name in ("front", "wrist")] == sizes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([0.0, np.nan, 0.0], "joint states are not finite: b;"),
        ([np.inf, 0.0, np.nan], "not finite: a, g;"),
        ([0.0, 0.0], r"must have shape \(3,\), got \(2,\)"),
        ([[0.0, 0.0, 0.0]], r"got \(1, 3\)"),
    ],
)
def test_states_that_are_not_finite_or_misshapen_are_refused(wrong: list[float], message: str) -> None:
    with pytest.raises(MessageError, match=message):
        Synchroniser(small_robot()).push_state(T0, wrong)


@pytest.mark.parametrize("wrong", ["x" * 513, "x" * 1_000_000, "push\nthe block", "push\x00", "\x1b[31mred"])
def test_a_wrong_instruction_leaves_the_former_one(wrong: str) -> None:
    sync = Synchroniser(small_robot())
    sync.set_instruction("reach the red block")
    with pytest.raises(MessageError, match="instruction"):
        sync.set_instruction(wrong)
    assert sync.instruction == "reach the red block"


FARMER, WAVE = "\U0001f468\u200d\U0001f33e", "wave \U0001f44b\U0001f3fd"  # a joiner in between; a colour of skin
PERSIAN = "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"  # with a zero-width non-joiner


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("push\u00a0the red\u3000block", "push the red block"),
        ("\u2003push it\u202f", "push it"),
        *((same, same) for same in (FARMER, WAVE, PERSIAN, "na\u00efve caf\u00e9")),
    ],
)
def test_a_sentence_as_people_copy_it_is_taken(given: str, meant: str) -> None:
    """Word processors, phones and other scripts than ours: no-break spaces, joiners, emoji."""
    assert check_instruction(given) == meant


@pytest.mark.parametrize("wrong", ["\x07", "\x00", "\x7f", "\x85", "\t", "\n", "\u2028", "\u2029", "\ud800"])
def test_what_steers_a_terminal_or_ends_a_line_is_refused_by_its_number(wrong: str) -> None:
    with pytest.raises(MessageError, match=rf"the question holds control characters \(U\+{ord(wrong):04X}\)"):
        check_instruction(f"push{wrong}it", "the question")


def test_the_limit_of_a_sentence_is_the_same_everywhere() -> None:
    assert check_instruction("x" * 512) and check_order(" push ") == "push"
    with pytest.raises(MessageError, match="513 characters, must be at most 512"):
        check_order("x" * 513)
    with pytest.raises(MessageError, match="the instruction is empty"):
        check_order("\u00a0 ")


def test_the_same_sentence_again_is_no_news() -> None:
    sync = Synchroniser(small_robot())
    told = [sync.set_instruction(sentence) for sentence in ("push", "push", " push\u00a0", "lift", "push", "", "")]
    assert told == [True, False, False, True, True, True, False]


def test_only_the_wanted_cameras_are_waited_for() -> None:
    sync = Synchroniser(small_robot(), cameras=["wrist"])
    sync.push_image("wrist", T0, image(1))
    sync.push_state(T0, [0, 0, 0])
    assert list(observed(sync, T0).images) == ["wrist"]
    with pytest.raises(MessageError, match="camera 'front' is not expected; known: wrist"):
        sync.push_image("front", T0, image(1))


@given(st.lists(st.tuples(st.sampled_from(["front", "wrist", "state"]), st.integers(0, 2000)), max_size=60))
def test_observations_are_always_synchronised_and_ever_newer(events: list[tuple[str, int]]) -> None:
    """Whatever comes in whatever order: stamps rise, and what is together belongs together."""
    sync = Synchroniser(small_robot(SyncSpec(max_age_s=10.0)))
    newest = -1
    for what, ms in events:
        if what == "state":
            sync.push_state(ms * MS, [ms / 1e4, 0, 0])
        else:
            sync.push_image(what, ms * MS, image(ms // 10))
        observation = sync.observe(2000 * MS)
        if observation is None:
            continue
        assert observation.stamp_ns > newest
        newest = observation.stamp_ns
        for frames in observation.images.values():
            assert abs(int(frames[0, 0, 0, 0]) * 10 - newest // MS) <= 60
        assert abs(float(observation.state[0, 0]) * 1e4 - newest / MS) <= 50.01


def test_threads_may_push_while_another_observes() -> None:
    sync = Synchroniser(small_robot(SyncSpec(max_age_s=1000.0, max_ahead_s=1000.0)))
    errors: list[BaseException] = []

    def push(camera: str) -> None:
        try:
            for ms in range(0, 20_000, 10):
                sync.push_image(camera, ms * MS, image(ms % 250))
                sync.push_state(ms * MS, [0, 0, 0])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=push, args=(name,)) for name in ("front", "wrist")]
    for thread in threads:
        thread.start()
    stamps = []
    while any(thread.is_alive() for thread in threads):
        observation = sync.observe(0)
        if observation is not None:
            stamps.append(observation.stamp_ns)
    assert not errors
    assert stamps == sorted(set(stamps))
