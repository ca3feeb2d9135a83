"""Surprise: usual departures are 1, certainty makes them worse, and conformal thresholds keep their promise."""

from __future__ import annotations

import numpy as np
import pytest

from vla_ros.core.errors import ConfigError
from vla_ros.core.expectation import Expectation, Recent, what_came
from vla_ros.core.surprise import Calibration, Departure, conformal, depart, floors_of, load_calibration
from vla_ros.core.types import Observation, Prediction

DUE_NS = np.array([600, 1200])


def seen(stamp_ns: int, frame: np.ndarray) -> Observation:
    return Observation(stamp_ns, {"front": frame[None]}, np.zeros((1, 7), np.float32), "push")


def expect(*frames: np.ndarray) -> Expectation:
    samples = tuple(Prediction(0, DUE_NS, {"front": np.stack([frame, frame])}) for frame in frames)
    return Expectation(seen(0, frames[0]), samples)


def plain(value: int) -> np.ndarray:
    return np.full((16, 16, 3), value, dtype=np.uint8)


def brightness(frames: np.ndarray) -> np.ndarray:
    """A stand-in for latents: one channel at half the size."""
    return frames.astype(np.float32)[:, ::2, ::2].mean(axis=-1)[:, None] / 255


def came_as(frame: np.ndarray) -> Observation:
    recent = Recent(8, 50)
    for stamp_ns in DUE_NS.tolist():
        recent.add(seen(stamp_ns, frame))
    found = what_came(expect(frame), recent)
    assert found is not None and found.images["front"].shape == (2, 16, 16, 3)
    return found


def test_a_small_change_where_the_model_was_sure_surprises_more_than_where_it_was_not():
    changed = plain(100)
    changed[4:8, 4:8] = 200
    calibration = Calibration(0, 0, 0.2, 0.05, 0, {"front latent": 1e-4, "front pixel": 1e-4}, 0, 0)
    sure = depart(expect(plain(100), plain(100)), came_as(changed), brightness)
    unsure = depart(expect(plain(50), plain(150)), came_as(changed), brightness)
    nothing = depart(expect(plain(100), plain(100)), came_as(plain(100)), brightness)
    assert calibration.score(nothing) == 0
    assert calibration.score(sure) > 5 * calibration.score(unsure) > 0


def test_floors_make_a_usual_error_one():
    error = np.full((2, 4, 4), 0.3, np.float32)
    departure = Departure(error, np.zeros_like(error))
    assert departure.score(floors_of([{"front latent": departure}])["front latent"]) == pytest.approx(1)


def test_a_missing_frame_is_waited_for_and_an_older_one_begins_anew():
    recent = Recent(8, 50)
    recent.add(seen(600, plain(0)))
    assert what_came(expect(plain(0)), recent) is None
    recent.add(seen(1230, plain(0)))
    assert what_came(expect(plain(0)), recent) is not None
    recent.add(seen(10, plain(0)))
    assert what_came(expect(plain(0)), recent) is None


def test_conformal_thresholds_keep_their_rate_and_refuse_what_they_cannot_promise():
    draw = np.random.default_rng(0)
    passed = [draw.normal() > conformal(draw.normal(size=39).tolist(), 0.05) for _ in range(4000)]
    assert 0.03 < np.mean(passed) <= 0.06
    with pytest.raises(ConfigError, match="at least 19"):
        conformal([1.0] * 18, 0.05)


def test_a_calibration_survives_its_file_and_a_broken_one_is_named(tmp_path):
    assert load_calibration(tmp_path) is None
    calibration = Calibration(2.0, 3.0, 0.2, 0.05, 40, {"front latent": 0.1}, 0.1, 0.2)
    path = calibration.save(tmp_path)
    assert load_calibration(tmp_path) == calibration
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"surprise\.json.*right would be"):
        load_calibration(tmp_path)
    path.write_text('{"warm": 2}')
    with pytest.raises(ConfigError, match="did you mean 'warn'"):
        load_calibration(tmp_path)
