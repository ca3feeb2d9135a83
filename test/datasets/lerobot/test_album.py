"""Pictures of a dataset are brought to size by the code that nodes use: a model sees live what it was trained on."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vla_ros.core.streams.image_fit import fitted
from vla_ros.datasets.lerobot.pictures import Album


def test_training_sees_the_pixels_that_a_node_gives() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    album = Album("dataset", 1, 64)
    album.put(0, Image.fromarray(frame))
    assert np.array_equal(album.whole()[0], fitted(frame, 64, 64, "stretch"))
