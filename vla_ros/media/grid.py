"""Pictures side by side in one grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_TITLE_PX = 12
Pictures = NDArray[np.float32]


def grid(columns: Mapping[str, Pictures]) -> Pictures:
    """Join columns of N frames (N, 3, H, W) each into one picture (3, N * H, columns * W)."""
    return np.concatenate([np.concatenate(list(frames), axis=1) for frames in columns.values()], axis=2)


def write_grid(path: Path, columns: Mapping[str, Pictures], zoom: int = 3) -> None:
    """Write the grid of frames in [0, 1] as a picture file, the columns under their names."""
    picture = np.round(grid(columns) * 255).astype(np.uint8).transpose(1, 2, 0)
    large = Image.fromarray(picture.repeat(zoom, axis=0).repeat(zoom, axis=1))
    sheet = Image.new("RGB", (large.width, large.height + _TITLE_PX), "white")
    sheet.paste(large, (0, _TITLE_PX))
    draw = ImageDraw.Draw(sheet)
    for place, name in enumerate(columns):
        draw.text((place * large.width // len(columns) + 2, 0), name, fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
