"""A picture like a camera's, for benchmarks: JPEG packs noise badly, and a plain colour too well."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sample_picture(width: int, height: int) -> NDArray[np.uint8]:
    """Return (height, width, 3): shades, edges and a little noise, always the same."""
    y, x = np.mgrid[:height, :width]
    shade = 110 + 60 * np.sin(x / width * 9) * np.cos(y / height * 7)
    boxes = 50 * ((x * 8 // width + y * 6 // height) % 3)
    noise = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    colours = np.stack([shade + boxes, shade, 255 - shade - boxes], axis=-1)
    return np.clip(colours + noise, 0, 255).astype(np.uint8)
