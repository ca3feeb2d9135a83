"""Animations and the sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vla_ros.media.animations import Frame, file_name, strip, write_gif, write_sheet


def moving_square(count: int) -> list[Frame]:
    frames = []
    for index in range(count):
        frame = np.full((240, 320, 3), (200, 190, 180), np.uint8)
        frame[100:140, 10 + 4 * index : 50 + 4 * index] = (220, 30, 30)
        frames.append(frame)
    return frames


def test_a_gif_keeps_time_colours_and_end(tmp_path: Path) -> None:
    write_gif(tmp_path / "x.gif", moving_square(20), step_s=0.1)
    with Image.open(tmp_path / "x.gif") as image:
        assert image.n_frames == 20 and image.info["loop"] == 0 and image.size == (240, 180)
        assert image.info["duration"] == 100
        image.seek(19)
        assert image.info["duration"] == 1200
        red, green, blue = image.convert("RGB").getpixel((round(0.75 * (10 + 4 * 19 + 20)), 90))
        assert red > 180 and green < 80 and blue < 80
    assert (tmp_path / "x.gif").stat().st_size < 100_000


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_strip_runs_from_the_first_to_the_last_frame(count: int) -> None:
    frames = moving_square(count)
    chosen = strip("x", True, frames).frames
    assert len(chosen) == 4
    assert np.array_equal(chosen[0], frames[0]) and np.array_equal(chosen[-1], frames[-1])


@pytest.mark.parametrize("count", [1, 3])
def test_the_sheet_has_room_for_every_strip(tmp_path: Path, count: int) -> None:
    strips = [strip("push the red block", outcome, moving_square(9)) for outcome in (True, False, None)[:count]]
    write_sheet(tmp_path / "sheet.png", strips)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.size == ((640, 148) if count == 1 else (1292, 296))


def test_file_names_are_safe_everywhere() -> None:
    assert file_name(3, "Push the red block, please!") == "03_push_the_red_block_please"
    assert file_name(1, "../../etc/passwd") == "01_etc_passwd"
    assert file_name(1, "…") == "01_episode"
    assert len(file_name(1, "a" * 500)) < 60
