"""Pictures of any size, brought to a model's: against OpenCV, Pillow and plain numpy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from vla_ros.core.errors import ConfigError, MessageError
from vla_ros.core.robot import CameraSpec
from vla_ros.core.robot_parts import CropSpec, FitKind
from vla_ros.core.streams.image_fit import fitted, framed

FITS: tuple[FitKind, ...] = ("stretch", "letterbox", "crop")
SIDE = st.integers(1, 90)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [127 + 120 * np.sin(x / 40 + k) * np.cos(y / 30 - k) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


@given(SIDE, SIDE, SIDE, SIDE, st.sampled_from(FITS))
def test_every_size_becomes_every_other(height: int, width: int, to_height: int, to_width: int, fit: FitKind) -> None:
    image = noise(height, width)
    found = fitted(image, to_width, to_height, fit)
    assert found.shape == (to_height, to_width, 3) and found.dtype == np.uint8
    grey = np.full_like(image, 90)
    even = fitted(grey, to_width, to_height, fit)
    assert set(np.unique(even)) <= ({0, 90} if fit == "letterbox" else {90})


@pytest.mark.parametrize("fit", FITS)
def test_a_picture_of_the_right_size_is_not_touched(fit: FitKind) -> None:
    image = noise(64, 64)
    assert fitted(image, 64, 64, fit) is image


def test_stretching_down_is_opencvs_mean_of_areas() -> None:
    """It halves first, which is faster and rounds once more: noise may differ, pictures hardly."""
    for image, mean in ((noise(480, 640), 16.0), (smooth(480, 640), 0.7)):
        theirs = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA).astype(int)
        assert np.abs(fitted(image, 224, 224, "stretch") - theirs).mean() < mean
    image = noise(480, 640)
    blocks = image[:, :512].reshape(60, 8, 64, 8, 3).mean(axis=(1, 3))
    assert np.abs(fitted(image[:, :512], 64, 60, "stretch") - blocks).max() <= 2


@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (640, 480)])
def test_letterbox_is_openpis_resize_with_pad(size: tuple[int, int]) -> None:
    """Written after its description: Pillow's bilinear, which averages as it shrinks, the rest black and even."""
    image = smooth(*size)
    height, width = size
    ratio = max(height, width) / 224
    high, wide = int(height / ratio), int(width / ratio)
    wanted = np.zeros((224, 224, 3), np.uint8)
    top, left = (224 - high) // 2, (224 - wide) // 2
    small = Pillow.fromarray(image).resize((wide, high), Pillow.Resampling.BILINEAR)
    wanted[top : top + high, left : left + wide] = np.asarray(small)
    found = fitted(image, 224, 224, "letterbox").astype(int)
    assert ((found == 0).all(-1) == (wanted == 0).all(-1)).mean() > 0.99
    assert np.abs(found - wanted).max() <= 3 and np.abs(found - wanted).mean() < 0.5


def test_crop_keeps_the_middle() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, 80:560] = 200  # the largest square
    assert (fitted(image, 224, 224, "crop") == 200).all()
    image = np.zeros((480, 640, 3), np.uint8)
    image[60:420] = 200  # 16 to 9
    assert (fitted(image, 160, 90, "crop") == 200).all()


def test_a_thin_line_does_not_vanish() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, 333] = 255
    assert fitted(image, 64, 64, "stretch").max(axis=1).min() >= 20


def camera(**changes: object) -> CameraSpec:
    return CameraSpec("front", "/front", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, -1), (180, 2), (270, 1)])
def test_rotate_turns_clockwise(degrees: int, turns: int) -> None:
    image = noise(4, 6)
    assert np.array_equal(framed(image, camera(rotate=degrees)), np.rot90(image, turns))


def test_crop_comes_before_rotate_and_must_lie_inside() -> None:
    image, box = noise(10, 20), CropSpec(3, 1, 8, 4)
    assert np.array_equal(framed(image, camera(crop=box, rotate=90)), np.rot90(image[1:5, 3:11], -1))
    assert camera(crop=box, rotate=90).size == (8, 4) and camera(width=20, height=10, rotate=90).size == (20, 10)
    assert camera().size is None
    with pytest.raises(MessageError, match=r"crop 8x4 at \(3, 1\) must lie in the picture, which is 10x10"):
        framed(noise(10, 10), camera(crop=box))
    with pytest.raises(ConfigError, match="crop must lie within the picture of 10 x 10 pixels"):
        camera(crop=box, width=10, height=10)
    with pytest.raises(ConfigError, match="camera size must be 1 to 8192 pixels a side, or left out, got 640 x 0"):
        camera(width=640)
