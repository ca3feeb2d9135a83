"""Messages to numbers: every encoding, every lie a header can tell, and round trips that lose nothing."""

from __future__ import annotations

import array
import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from vla_ros.core.errors import MessageError
from vla_ros.core.types import ActionChunk
from vla_ros.ros import convert, images

RED = (200, 100, 50)
PIXELS = {"rgb8": RED, "bgr8": RED[::-1], "rgba8": (*RED, 7), "bgra8": (*RED[::-1], 7), "mono8": (90,)}


def image(encoding: str, pixel: tuple[int, ...], width: int = 4, height: int = 3, padding: int = 0) -> Image:
    row = bytes(pixel) * width + b"\xee" * padding
    data = array.array("B", row * height)
    return Image(width=width, height=height, encoding=encoding, step=len(row), data=data)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", PIXELS)
def test_every_encoding_becomes_rgb_whatever_its_stride(encoding, padding):
    rgb = images.image_to_array(image(encoding, PIXELS[encoding], padding=padding))
    assert rgb.shape == (3, 4, 3) and rgb.dtype == np.uint8
    assert (rgb == (RED if encoding != "mono8" else (90, 90, 90))).all()


def test_an_rgb_image_is_read_without_a_copy():
    message = image("rgb8", RED)
    assert np.shares_memory(images.image_to_array(message), np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"encoding": "rgb16"}, "encoding 'rgb16' is not known; known: rgb8"),
        ({"encoding": ""}, "encoding '' is not known"),
        ({"step": 5}, "step is 5; 4 pixels of rgb8 need 12"),
        ({"height": 400}, "holds 36 bytes; 4x400 at step 12 needs 4800"),
        ({"width": 0}, "image must have 1 to 16000000 pixels, got 0x3"),
        ({"width": 100_000, "height": 100_000, "step": 300_000}, "must have 1 to 16000000 pixels, got 100000x100000"),
    ],
)
def test_a_header_that_lies_is_refused(change, match):
    message = image("rgb8", RED)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(MessageError, match=match):
        images.image_to_array(message)


def test_another_encoding_than_the_contract_s_is_refused_not_swapped():
    with pytest.raises(MessageError, match="encoding is 'bgr8'; the robot's YAML says 'rgb8'"):
        images.image_to_array(image("bgr8", RED), "rgb8")


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**62))
def test_images_survive_the_round_trip(height, width, stamp_ns):
    frame = np.random.default_rng(height).integers(0, 255, (height, width, 3), dtype=np.uint8)
    message = images.array_to_image(frame, stamp_ns % (2**31 * 1_000_000_000))
    assert isinstance(message.data, array.array)
    assert np.array_equal(images.image_to_array(message), frame)
    assert convert.to_ns(message.header.stamp) == stamp_ns % (2**31 * 1_000_000_000)


def test_a_jpeg_looks_like_what_was_compressed():
    frame = np.full((16, 24, 3), RED, dtype=np.uint8)
    again = images.compressed_to_array(images.array_to_compressed(frame, 5))
    assert again.shape == frame.shape and np.abs(again.astype(int) - frame).max() < 8


def broken_picture(fault: str) -> bytes:
    good = bytes(images.array_to_compressed(np.zeros((64, 64, 3), np.uint8), 0).data)
    file = io.BytesIO()
    if fault == "gif":
        Pillow.new("RGB", (64, 64)).save(file, "GIF")
    if fault == "bomb":
        Pillow.new("1", (30_000, 30_000)).save(file, "PNG")  # some 100 kB that would become 900 MB
    return {"noise": b"\x00\x01" * 100, "cut": good[: len(good) // 2]}.get(fault, file.getvalue())


@pytest.mark.parametrize("fault", ["noise", "cut", "gif", "bomb", "empty"])
def test_a_broken_compressed_image_is_refused(fault):
    data = broken_picture(fault)
    with pytest.raises(MessageError, match=r"cannot be decoded|at most 16000000 pixels") as refusal:
        images.compressed_to_array(CompressedImage(data=array.array("B", data)))
    assert "object at" not in str(refusal.value)


def chunk_of_png(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def compressed(picture: Pillow.Image, form: str = "PNG", **options: object) -> CompressedImage:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return CompressedImage(data=array.array("B", buffer.getvalue()))


def png_of_sixteen_bits(colour: int, channels: int) -> CompressedImage:
    """Black, 8x8, of a colour type of the PNG standard."""
    header = (8).to_bytes(4, "big") * 2 + bytes([16, colour, 0, 0, 0])
    rows = bytes(8 * (1 + 8 * channels * 2))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(chunk_of_png(kind, data) for kind, data in chunks)
    return CompressedImage(data=array.array("B", data))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_a_compressed_image_of_every_8_bit_mode_is_the_same_picture(mode):
    grey = np.array([[0, 255], [255, 0]], dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    picture = Pillow.fromarray(np.stack([grey] * 3, -1)).convert(mode)
    assert (images.compressed_to_array(compressed(picture)) == grey[..., None]).all()


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (compressed(Pillow.fromarray(np.full((8, 8), 30_000, np.uint16))), "PNG of mode I;16"),
        (png_of_sixteen_bits(0, 1), "PNG of mode I;16"),
        (png_of_sixteen_bits(2, 3), "PNG of mode RGB;16B"),
        (png_of_sixteen_bits(4, 2), "PNG of mode LA;16B"),
        (png_of_sixteen_bits(6, 4), "PNG of mode RGBA;16B"),
        (compressed(Pillow.new("CMYK", (8, 8)), "JPEG"), "JPEG of mode CMYK"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_8_bit_picture_is_refused_by_format_and_mode(message, name):
    """Pillow would make it one: a depth picture white, sixteen bits of a dark camera black, inks by a guess."""
    with pytest.raises(MessageError, match=name) as refusal:
        images.compressed_to_array(message)
    assert "publish 8-bit grey or colour" in str(refusal.value)


def test_a_refusal_quotes_no_more_than_a_line_can_hold():
    """A hundred thousand names made one line of 800 kB, in the log and on /diagnostics."""
    names = [f"a joint of another robot \x1b[2J {number}" for number in range(100_000)]
    for refused in (
        lambda: convert.joint_state_to_array(JointState(name=names, position=[0.0] * len(names)), ("elbow",)),
        lambda: images.image_to_array(Image(encoding="x" * 1_000_000, width=1, height=1)),
    ):
        with pytest.raises(MessageError) as refusal:
            refused()
        assert len(str(refusal.value)) < 1000 and "\x1b" not in str(refusal.value)


@pytest.mark.parametrize("chunk", [b"iCCP", b"gAMA", b"tRNS", b"iTXt", b"pHYs"], ids=bytes.decode)
@pytest.mark.parametrize("behind", ["header", "pixels"])
def test_a_png_with_an_empty_chunk_is_read_or_refused(chunk, behind):
    """What Pillow raises for it is anything: behind the pixels, an empty colour profile is an IndexError."""
    png = io.BytesIO()
    Pillow.fromarray(np.zeros((4, 4, 3), np.uint8)).save(png, "PNG")
    whole = png.getvalue()
    cut = 33 if behind == "header" else len(whole) - 12  # signature and IHDR; IEND
    message = CompressedImage(data=array.array("B", whole[:cut] + chunk_of_png(chunk, b"") + whole[cut:]))
    try:
        assert images.compressed_to_array(message).shape == (4, 4, 3)
    except MessageError as error:
        assert "compressed image cannot be decoded" in str(error) and "send a whole JPEG or PNG" in str(error)


def test_joint_states_are_mapped_by_name():
    message = JointState(name=["c", "a", "extra", "b"], position=[3.0, 1.0, 9.0, 2.0])
    assert convert.joint_state_to_array(message, ("a", "b", "c")).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("names", "positions", "match"),
    [
        (["a"], [1.0], "lack b; they hold a"),
        (["a", "b"], [1.0], "name 2 joints and hold 1 positions"),
        (["a", "a", "b"], [1.0, 1.0, 1.0], "name a joint twice"),
        ([], [], "lack a, b; they hold none"),
    ],
)
def test_wrong_joint_states_are_refused(names, positions, match):
    with pytest.raises(MessageError, match=match):
        convert.joint_state_to_array(JointState(name=names, position=positions), ("a", "b"))


@given(st.integers(1, 2**31 * 10**9 - 10**10), st.integers(1, 30), st.integers(1_000_000, 10**9), st.integers(0, 10**9))
def test_chunks_survive_the_round_trip(stamp_ns, horizon, step_ns, lead_ns):
    actions = np.random.default_rng(horizon).normal(size=(horizon, 2)).astype(np.float32)
    if horizon == 1:
        step_ns = lead_ns = max(lead_ns, 1)  # a single point carries no step; its own time is taken
    chunk = ActionChunk(stamp_ns, stamp_ns + lead_ns, step_ns, actions, ("a", "b"))
    again = convert.trajectory_to_chunk(convert.chunk_to_trajectory(chunk))
    assert (again.stamp_ns, again.start_ns, again.step_ns) == (stamp_ns, chunk.start_ns, step_ns)
    assert again.names == chunk.names
    assert np.array_equal(again.actions, actions)


def trajectory(times_ms: list[int], widths: list[int] | None = None, stamp_ns: int = 10**9) -> JointTrajectory:
    chunk = ActionChunk(stamp_ns, stamp_ns, 1, np.zeros((len(times_ms), 2), np.float32), ("a", "b"))
    message = convert.chunk_to_trajectory(chunk)
    for index, time_ms in enumerate(times_ms):
        message.points[index].time_from_start = convert.to_duration(time_ms * 1_000_000)
        if widths:
            message.points[index].positions = [0.0] * widths[index]
    return message


def test_times_that_were_rounded_to_milliseconds_are_even():
    chunk = convert.trajectory_to_chunk(trajectory([33, 67, 100]))
    assert (chunk.start_ns - chunk.stamp_ns, chunk.step_ns) == (33_333_333, 33_333_333)


@pytest.mark.parametrize(
    ("message", "match"),
    [
        (JointTrajectory(joint_names=["a"]), "must have 1 to 1000 points, got 0"),
        (trajectory([100, 100]), "does not rise evenly"),
        (trajectory([100, 200, 250]), "does not rise evenly"),
        (trajectory([200, 100]), "does not rise evenly"),
        (trajectory([100, 200], [2, 1]), "point 1 has 1 positions for 2 joints"),
        (trajectory([100, 200], stamp_ns=0), "has no stamp"),
    ],
)
def test_wrong_trajectories_are_refused(message, match):
    with pytest.raises(MessageError, match=match):
        convert.trajectory_to_chunk(message)


@pytest.mark.parametrize("kind", ["Float64MultiArray", "JointTrajectory", "JointState"])
def test_commands_of_every_kind_come_back(kind):
    message = convert.command_message(kind, ("a", "b"), np.array([0.5, -1.0]), 123, 10_000_000)
    assert convert.command_to_array(message, ("a", "b")).tolist() == [0.5, -1.0]


def test_commands_of_a_wrong_size_are_refused():
    with pytest.raises(MessageError, match="must hold 2 numbers, got 1"):
        convert.command_to_array(Float64MultiArray(data=[1.0]), ("a", "b"))
    with pytest.raises(MessageError, match="trajectory must have at least one point"):
        convert.command_to_array(JointTrajectory(joint_names=["a", "b"]), ("a", "b"))


@pytest.mark.parametrize(
    ("names", "foreign"),
    [(["x", "y"], True), (["x", "b"], False), (["b", "a"], False), ([], False)],
)
def test_joint_states_of_another_machine_name_none_of_ours(names, foreign):
    assert convert.is_foreign(JointState(name=names, position=[0.0]), ("a", "b")) is foreign


def test_a_refusal_does_not_repeat_a_hundred_thousand_names():
    many = [f"joint_{number}" for number in range(100_000)]
    with pytest.raises(MessageError) as caught:
        convert.joint_state_to_array(JointState(name=many, position=[0.0] * len(many)), ("a", "b"))
    assert "joint states lack a, b; they hold joint_0" in str(caught.value) and len(str(caught.value)) < 200
