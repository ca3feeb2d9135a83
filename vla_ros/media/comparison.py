"""One picture of what a camera shows now, what was expected of it, what came, and where the two differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Frame = NDArray[np.uint8]  # (H, W, 3) RGB

TITLES = ("now", "expected", "came", "difference")
CELL_PX, BAR_PX, GAP_PX = 192, 18, 4
PAPER, INK = (18, 22, 28), (222, 228, 236)
FULL_DIFFERENCE = 96.0  # of 255, drawn in full colour


def difference(expected: Frame, came: Frame) -> Frame:
    """Return (H, W, 3): dark where they agree, through red to yellow where they do not."""
    amount = np.abs(expected.astype(np.float32) - came.astype(np.float32)).mean(axis=-1) / FULL_DIFFERENCE
    heat = np.stack([2 * amount, 2 * amount - 1, np.zeros_like(amount)], axis=-1)
    return (heat.clip(0, 1) * 255).astype(np.uint8)


def comparison(now: Frame, expected: Frame, came: Frame | None, horizon_s: float) -> Frame:
    """Return (h, w, 3): four pictures in a row under their titles; the last two are blank while nothing has come."""
    blank = np.zeros_like(now)
    pictures = (now, expected, blank if came is None else came, blank if came is None else difference(expected, came))
    titles = ("now", f"expected +{horizon_s:.1f} s", *TITLES[2:])
    width, height = len(pictures) * (CELL_PX + GAP_PX) - GAP_PX, BAR_PX + round(CELL_PX * now.shape[0] / now.shape[1])
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, (title, picture) in enumerate(zip(titles, pictures, strict=True)):
        left = column * (CELL_PX + GAP_PX)
        draw.text((left + 4, 3), title, fill=INK, font=ImageFont.load_default())
        sheet.paste(Image.fromarray(picture).resize((CELL_PX, height - BAR_PX)), (left, BAR_PX))
    return np.asarray(sheet)


def camera_rows(rows: Mapping[str, Sequence[Frame]]) -> Image.Image:
    """Return rows of pictures, one per camera, each under the camera's name."""
    columns = max(len(frames) for frames in rows.values())
    first = next(iter(rows.values()))[0]
    cell = (CELL_PX, round(CELL_PX * first.shape[0] / first.shape[1]))
    sheet = Image.new("RGB", (columns * (CELL_PX + GAP_PX) - GAP_PX, len(rows) * (cell[1] + BAR_PX)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (name, frames) in enumerate(rows.items()):
        top = row * (cell[1] + BAR_PX)
        draw.text((4, top + 3), name, fill=INK, font=ImageFont.load_default())
        for column, frame in enumerate(frames):
            sheet.paste(Image.fromarray(frame).resize(cell), (column * (CELL_PX + GAP_PX), top + BAR_PX))
    return sheet


def clip(rows: Sequence[Sequence[Frame]], steps: Sequence[int]) -> list[Frame]:
    """Return frames to play, one per step: the rows' pictures side by side, each held until the next is due.

    steps: when each column is due; the last is held as long as the one before.
    """
    ends = [*steps[1:], 2 * steps[-1] - steps[-2]]
    columns = [np.concatenate([_enlarged(p) for p in column], axis=1) for column in zip(*rows, strict=True)]
    counts = [end - start for start, end in zip(steps, ends, strict=True)]
    return [column for column, count in zip(columns, counts, strict=True) for _ in range(count)]


def _enlarged(picture: Frame) -> Frame:
    height = 2 * round(CELL_PX * picture.shape[0] / picture.shape[1] / 2)  # video wants even sides
    return np.asarray(Image.fromarray(picture).resize((CELL_PX, height)))
