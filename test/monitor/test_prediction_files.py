"""What ~/save answers: the path of a picture that is there, or why there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vla_ros.core.surprise.expectation import Expectation
from vla_ros.core.types import Observation, Prediction
from vla_ros.monitor.prediction_files import PredictionFiles

STEP_NS = 100_000_000


@pytest.fixture
def seen() -> Expectation:
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    observation = Observation(0, {"front": frames[:1]}, np.zeros((1, 7), np.float32), "push")
    return Expectation(observation, Prediction(0, np.array([6, 12]) * STEP_NS, {"front": frames}))


def test_it_says_where_the_picture_is(tmp_path, seen):
    files = PredictionFiles(tmp_path / "new", ("front",), STEP_NS)
    done, path = files.say(files.picture, seen)
    assert done and Path(path).is_absolute() and Image.open(path).size[0] > 64


def test_it_says_why_there_is_none(tmp_path, seen):
    files = PredictionFiles(tmp_path / "file" / "below", ("front",), STEP_NS)
    (tmp_path / "file").write_text("in the way")
    assert files.say(files.picture, None) == (False, "nothing has been predicted yet")
    done, reason = files.say(files.picture, seen)
    assert not done and "Not a directory" in reason and str(files.folder) in reason
