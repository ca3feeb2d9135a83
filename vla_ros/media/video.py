"""Frames as mp4 files of AV1, as in LeRobotDatasets: many episodes per file, frame k at k / fps."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vla_ros.core.errors import ConfigError

CODEC, PIXELS = "libsvtav1", "yuv420p"
# A key frame every second frame makes random access cheap, as in LeRobot; crf 20 is finer than its 30, and still small.
OPTIONS = {"crf": "20", "preset": "10", "g": "2", "svtav1-params": "lp=2"}


class VideoFile:
    """One mp4 file that is being written."""

    def __init__(self, path: Path, fps: int, height: int, width: int) -> None:
        if height % 2 or width % 2 or min(height, width) < 64:
            raise ConfigError(
                f"a video's sides must be even and >= 64 pixels, got {width}x{height}; or keep it lossless"
            )
        os.environ.setdefault("SVT_LOG", "1")  # errors only: the encoder writes a page for each file
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.frames = path, 0
        self._container = _open(path)
        self._stream = self._container.add_stream(CODEC, rate=fps, options=OPTIONS)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, PIXELS
        self._time_base = Fraction(1, fps)

    def add(self, image: NDArray[np.uint8]) -> None:
        """Add one frame (H, W, 3) RGB."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = self.frames, self._time_base
        self.frames += 1
        self._container.mux(self._stream.encode(frame))

    def size(self) -> int:
        """Return the bytes on disk so far; 0 while the first frames are still in the encoder."""
        return self.path.stat().st_size if self.path.exists() else 0

    def close(self) -> None:
        """Write what is still in the encoder."""
        try:
            left = self._stream.encode(None)
            self._container.mux(left)
        finally:
            self._container.close()


def _open(path: Path) -> Any:  # what PyAV returns has more types than a video stream needs to know
    return av.open(str(path), "w")
