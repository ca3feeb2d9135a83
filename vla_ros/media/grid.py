"""Pictures side by side in one grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

_TITLE_PX = 12


def grid(columns: Mapping[str, Tensor]) -> Tensor:
    """Columns of N frames (N, 3, H, W) each -> one picture (3, N * H, columns * W)."""
    return torch.cat([torch.cat(tuple(frames), dim=1) for frames in columns.values()], dim=2)


def write_grid(path: Path, columns: Mapping[str, Tensor], zoom: int = 3) -> None:
    """Write the grid as a picture file, the columns under their names."""
    picture = (grid(columns) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    large = Image.fromarray(picture.repeat(zoom, axis=0).repeat(zoom, axis=1))
    sheet = Image.new("RGB", (large.width, large.height + _TITLE_PX), "white")
    sheet.paste(large, (0, _TITLE_PX))
    draw = ImageDraw.Draw(sheet)
    for place, name in enumerate(columns):
        draw.text((place * large.width // len(columns) + 2, 0), name, fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
