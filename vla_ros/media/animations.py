"""Pictures of episodes: one animated GIF each, and one sheet of all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Frame = NDArray[np.uint8]  # (H, W, 3) RGB

GIF_WIDTH = 240
GIF_COLOURS = 96
HOLD_MS = 1200  # hold the last frame, so that the end is seen before the loop restarts
STRIP_FRAMES = 4
CELL_WIDTH = 160
CAPTION_HEIGHT = 20
INK, PAPER, GREEN, RED, GREY = (30, 30, 30), (255, 255, 255), (20, 130, 60), (180, 40, 40), (120, 120, 120)


@dataclass(frozen=True, slots=True)
class Strip:
    """A few moments of one episode, first to last, with its sentence and outcome."""

    caption: str
    success: bool | None
    frames: tuple[Frame, ...]


def write_gif(path: Path, frames: Sequence[Frame], step_s: float) -> None:
    """Write an endless animation of `frames` (H, W, 3), `step_s` apart, on one palette to keep it small."""
    images = [_resized(frame, GIF_WIDTH) for frame in frames]
    sample = Image.fromarray(np.concatenate([np.asarray(image) for image in (images[0], images[-1])]))
    palette = sample.quantize(GIF_COLOURS, dither=Image.Dither.NONE)
    indexed = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [round(step_s * 1000)] * (len(indexed) - 1) + [HOLD_MS]
    path.parent.mkdir(parents=True, exist_ok=True)
    indexed[0].save(path, save_all=True, append_images=indexed[1:], duration=durations, loop=0, optimize=False)


def strip(caption: str, success: bool | None, frames: Sequence[Frame]) -> Strip:
    """Pick `STRIP_FRAMES` moments, evenly spaced from the first to the last."""
    chosen = np.linspace(0, len(frames) - 1, STRIP_FRAMES).round().astype(int)
    return Strip(caption, success, tuple(frames[index] for index in chosen))


def write_sheet(path: Path, strips: Sequence[Strip], columns: int = 2) -> None:
    """Write one PNG: a grid of strips, each under its sentence."""
    height, width = strips[0].frames[0].shape[:2]
    cell_height = round(CELL_WIDTH * height / width)
    block = (CELL_WIDTH * STRIP_FRAMES + 12, cell_height + CAPTION_HEIGHT + 8)
    columns = min(columns, len(strips))
    rows = -(-len(strips) // columns)
    sheet = Image.new("RGB", (block[0] * columns - 12, block[1] * rows), PAPER)
    for index, item in enumerate(strips):
        _draw_strip(sheet, item, (index % columns) * block[0], (index // columns) * block[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


class Gallery:
    """The pictures of a series: one animation per episode as it ends, a sheet of the first ones at the end."""

    def __init__(self, folder: Path, step_s: float, sheet_limit: int = 8) -> None:
        self._folder = folder
        self._step_s = step_s
        self._sheet_limit = sheet_limit
        self._strips: list[Strip] = []

    def add(self, index: int, caption: str, success: bool | None, frames: Sequence[Frame]) -> None:
        """Write the animation of an episode, if it has frames."""
        if not frames:
            return
        write_gif(self._folder / f"{file_name(index, caption)}.gif", frames, self._step_s)
        if len(self._strips) < self._sheet_limit:
            self._strips.append(strip(caption, success, frames))

    def close(self) -> None:
        """Write the sheet."""
        if self._strips:
            write_sheet(self._folder / "sheet.png", self._strips)


def file_name(index: int, instruction: str) -> str:
    """Return such as `03_push_the_red_block`: ordered, readable, safe on every file system."""
    words = re.sub(r"[^a-z0-9]+", "_", instruction.lower()).strip("_")
    return f"{index:02d}_{words[:48] or 'episode'}"


def _draw_strip(sheet: Image.Image, item: Strip, left: int, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    word, colour = {True: ("done", GREEN), False: ("not done", RED), None: ("", GREY)}[item.success]
    font = ImageFont.load_default(13)
    draw.text((left + 2, top + 2), f"“{item.caption}”"[:80], fill=INK, font=font)
    draw.text((left + CELL_WIDTH * STRIP_FRAMES - 2, top + 2), word, fill=colour, font=font, anchor="ra")
    for column, frame in enumerate(item.frames):
        sheet.paste(_resized(frame, CELL_WIDTH), (left + column * CELL_WIDTH, top + CAPTION_HEIGHT))


def _resized(frame: Frame, width: int) -> Image.Image:
    image = Image.fromarray(frame)
    return image.resize((width, round(width * image.height / image.width)), Image.Resampling.BILINEAR)
