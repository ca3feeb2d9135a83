"""Every encoding of raw images, with padded rows, against plain numpy; depth is refused by name."""

from __future__ import annotations

import array
import io
from typing import get_args

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from sensor_msgs.msg import CompressedImage, Image

from vla_ros.core.errors import MessageError
from vla_ros.core.robot_parts import Encoding
from vla_ros.ros.images import ENCODINGS, array_to_compressed, compressed_to_array, image_to_array

HEIGHT, WIDTH = 8, 12
RGB = np.repeat(np.repeat(np.random.default_rng(1).integers(0, 256, (4, 6, 3), dtype=np.uint8), 2, 0), 2, 1)


def message(encoding: str, rows: np.ndarray, padding: int, height: int = HEIGHT) -> Image:
    """rows: (rows, bytes). padding: bytes at the end of each, which are no picture."""
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=123)
    data = array.array("B", padded.tobytes())
    return Image(encoding=encoding, height=height, width=WIDTH, step=padded.shape[1], data=data)


def yuv(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3): BT.601 of video range, as OpenCV reads it."""
    r, g, b = (rgb[..., k].astype(float) for k in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    return np.stack([y, u, v], axis=-1).round().clip(0, 255).astype(np.uint8)


def packed(first: str) -> np.ndarray:
    """UYVY or YUYV: two pixels share their colours."""
    y, u, v = np.moveaxis(yuv(RGB), -1, 0)
    planes = {"y": y[:, ::2], "Y": y[:, 1::2], "u": u[:, ::2], "v": v[:, ::2]}
    return np.stack([planes[letter] for letter in first], axis=-1).reshape(HEIGHT, -1)


def planar(order: str) -> np.ndarray:
    """NV12 or NV21: brightness, and half as many rows of colours."""
    y, u, v = np.moveaxis(yuv(RGB), -1, 0)
    half = {"u": u[::2, ::2], "v": v[::2, ::2]}
    return np.concatenate([y, np.stack([half[letter] for letter in order], axis=-1).reshape(HEIGHT // 2, -1)])


def mosaic(pattern: str, colour: tuple[int, int, int]) -> np.ndarray:
    letters = np.array([list(pattern[:2]), list(pattern[2:])])
    block = np.vectorize(dict(zip("rgb", colour, strict=True)).get)(letters)
    return np.tile(block, (HEIGHT // 2, WIDTH // 2)).astype(np.uint8)


YUV = {
    "yuv422": packed("uyvY"),
    "uyvy": packed("uyvY"),
    "yuv422_yuy2": packed("yuYv"),
    "yuyv": packed("yuYv"),
    "nv12": planar("uv"),
    "nv21": planar("vu"),
}


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", YUV)
def test_yuv_becomes_the_colours_it_was_made_of(encoding: str, padding: int) -> None:
    found = image_to_array(message(encoding, YUV[encoding], padding))
    assert found.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(found.astype(int) - RGB).max() <= 6  # eight bits of brightness, and fewer of colour


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_mosaic_of_one_colour_is_that_colour(pattern: str, padding: int) -> None:
    found = image_to_array(message(f"bayer_{pattern}8", mosaic(pattern, (200, 120, 30)), padding))
    assert (found[2:-2, 2:-2] == (200, 120, 30)).all()


@pytest.mark.parametrize(("big", "kind"), [(0, "<u2"), (1, ">u2")])
def test_sixteen_bits_of_grey_become_their_high_byte(big: int, kind: str) -> None:
    grey = np.random.default_rng(2).integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
    one = message("mono16", np.frombuffer(grey.astype(kind).tobytes(), np.uint8).reshape(HEIGHT, -1), 4)
    one.is_bigendian = big
    assert np.array_equal(image_to_array(one), np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=-1))


def test_the_yaml_may_name_every_encoding_that_is_read() -> None:
    assert set(get_args(Encoding)) - {"any"} == set(ENCODINGS)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_depth_is_refused_by_name(encoding: str) -> None:
    with pytest.raises(MessageError, match=f"'{encoding}' is a depth picture; name the camera's colour topic"):
        image_to_array(message(encoding, np.zeros((HEIGHT, 4 * WIDTH), np.uint8), 0))
    packed_depth = array_to_compressed(RGB, 0)
    packed_depth.format = "16UC1; compressedDepth png"
    with pytest.raises(MessageError, match="a depth picture"):
        compressed_to_array(packed_depth)
    assert isinstance(packed_depth, CompressedImage)


@pytest.mark.parametrize("encoding", ["yuyv", "nv12", "bayer_rggb8"])
def test_odd_sides_are_refused_where_pixels_share_colours(encoding: str) -> None:
    odd = Image(encoding=encoding, height=HEIGHT, width=WIDTH - 1, step=40, data=array.array("B", bytes(2000)))
    with pytest.raises(MessageError, match="must have even sides, got 11x8"):
        image_to_array(odd)


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_a_picture_that_is_cut_short_is_refused(encoding: str) -> None:
    channels = ENCODINGS[encoding].channels
    short = Image(encoding=encoding, height=HEIGHT, width=WIDTH, step=WIDTH * channels)
    short.data = array.array("B", bytes(WIDTH * channels * (HEIGHT - 1)))
    with pytest.raises(MessageError, match=r"image data holds \d+ bytes; 12x8 at step"):
        image_to_array(short)


@pytest.mark.parametrize(
    "encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "8UC1", "8UC3", "mono16", "yuv422", "yuv422_yuy2"]
)
def test_cv_bridge_gives_the_same_pixels(encoding: str) -> None:
    """Where a ROS installation has it. Without padding: PyPI's build reads padded rows wrongly."""
    bridge = pytest.importorskip("cv_bridge", reason="cv_bridge comes with a ROS installation")
    channels = ENCODINGS[encoding].channels
    rows = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH * channels), dtype=np.uint8)
    one = message(encoding, rows, 0)
    theirs = cv2.cvtColor(bridge.CvBridge().imgmsg_to_cv2(one, "bgr8"), cv2.COLOR_BGR2RGB)
    assert np.abs(image_to_array(one).astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("tail", [b"", b"\0" * 100, b"after"])
def test_a_jpeg_has_pillows_pixels_whoever_decodes_it(tail: bytes) -> None:
    """OpenCV decodes whole ones, Pillow the rest, and a recording must not depend on which."""
    rng = np.random.default_rng(4)
    frame = cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (160, 120))
    data = bytes(array_to_compressed(frame, 0).data)  # type: ignore[arg-type]
    theirs = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB")).astype(int)
    found = compressed_to_array(CompressedImage(format="jpeg", data=array.array("B", data + tail)))
    assert np.abs(found - theirs).max() <= 1
    with pytest.raises(MessageError, match="cannot be decoded"):
        compressed_to_array(CompressedImage(format="jpeg", data=array.array("B", data[:-300])))
