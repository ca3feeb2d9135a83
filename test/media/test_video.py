"""A video file that is being written."""

from __future__ import annotations

from pathlib import Path

from bag_files import picture

from vla_ros.media.video import VideoFile


def test_a_file_of_which_nothing_is_on_disk_yet_has_no_size(tmp_path: Path) -> None:
    """An episode of one frame begins and ends before the encoder gives anything away."""
    video = VideoFile(tmp_path / "video.mp4", 10, 64, 64)
    video.add(picture(0))
    assert video.size() == 0
    video.close()
    assert video.size() > 0
