"""Files of the world-model node's ~/save and ~/save_video: a prediction as an image or a video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_ros.core.errors import VlaRosError
from vla_ros.core.surprise.expectation import Expectation
from vla_ros.core.types import NS_PER_S
from vla_ros.media.comparison import camera_rows, clip
from vla_ros.media.video import VideoFile


@dataclass(frozen=True, slots=True)
class PredictionFiles:
    """Files in `folder`, named by the stamp of the observation that was imagined from; OSError if the disk is full."""

    folder: Path
    cameras: Sequence[str]
    step_ns: int

    def picture(self, seen: Expectation) -> Path:
        """Write a row per camera: what it saw, then what it was expected to see."""
        path = self._path(seen, "png")
        camera_rows({n: [seen.observation.images[n][-1], *seen.prediction.images[n]] for n in self.cameras}).save(path)
        return path

    def video(self, seen: Expectation) -> Path:
        """Write the cameras side by side, each image for as long as it is valid."""
        path = self._path(seen, "mp4")
        steps = [0, *((seen.due_ns - seen.observation.stamp_ns) // self.step_ns).tolist()]
        frames = clip([[seen.observation.images[n][-1], *seen.prediction.images[n]] for n in self.cameras], steps)
        video = VideoFile(path, round(NS_PER_S / self.step_ns), *frames[0].shape[:2])
        for frame in frames:
            video.add(frame)
        video.close()
        return path

    def say(self, write: Callable[[Expectation], Path], seen: Expectation | None) -> tuple[bool, str]:
        """Write with `picture` or `video`; return whether it succeeded, and the path or the reason."""
        if seen is None:
            return False, "nothing has been predicted yet"
        try:
            return True, str(write(seen).resolve())
        except (OSError, VlaRosError) as error:
            return False, f"{self.folder}: {error}"

    def _path(self, seen: Expectation, kind: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"prediction_{seen.observation.stamp_ns}.{kind}"
