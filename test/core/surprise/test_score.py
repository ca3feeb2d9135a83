"""Surprise: what was imagined to move may err, what was not may not; and a calibration keeps its promise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from vla_ros.core.errors import ConfigError
from vla_ros.core.paths import share_folder
from vla_ros.core.surprise.calibration import calibrate, calibrate_apart, conformal, usual_of
from vla_ros.core.surprise.score import Calibration, Surprise, fingerprint, load_calibration
from vla_ros.core.surprise.signs import (
    BINS,
    KNOTS,
    Stillness,
    appearance,
    beyond_appearance,
    inverse_error,
    outside,
    picture_signs,
)
from vla_ros.core.types import NS_PER_S

LATENT = (4, 16, 16)


def usual_run(draw: np.random.Generator, scale: float = 1.0) -> list[dict[str, np.ndarray]]:
    """Ten readings of an arm whose joints lag a little, and of a camera whose picture errs where motion is imagined."""
    return [
        {
            "arm follows": np.abs(draw.normal(0, 0.01, 12)) * scale,
            "front imagined": np.abs(draw.normal(0, 1, BINS)) * np.linspace(0, 5, BINS),
        }
        for _ in range(10)
    ]


def test_an_error_counts_by_the_motion_that_was_imagined_there():
    draw = np.random.default_rng(0)
    now = draw.normal(size=LATENT).astype(np.float32)
    samples = np.repeat(now[None], 4, axis=0)
    samples[:, :, 8:12, 8:12] += 3  # the model imagines that an arm comes to this place
    inside, elsewhere = samples[0].copy(), samples[0].copy()
    inside[:, 10, 10] += 2
    elsewhere[:, 2, 2] += 2
    tables = [picture_signs(came, samples, now)[0] for came in (samples[0], inside, elsewhere)]
    moving = int(np.digitize(36.0, KNOTS))
    assert np.allclose(tables[0], 0)
    assert tables[1][moving] == pytest.approx(16) and tables[1][:moving].max() == 0
    assert tables[2][0] == pytest.approx(16) and tables[2][1:].max() == 0
    usual = usual_of([{"front imagined": tables[1]}])
    limits = Calibration(0.5, 0.2, 0.05, 60, usual, {"front imagined": 1.0})
    assert limits.scores({"front imagined": tables[1]})["front imagined"] == 0
    assert limits.scores({"front imagined": tables[2]})["front imagined"] > 5


def test_the_mean_error_of_a_picture_is_filed_under_its_mean_motion():
    now = np.zeros(LATENT, np.float32)
    samples = np.full((4, *LATENT), 0.1, np.float32)
    _, whole = picture_signs(np.full(LATENT, 0.6, np.float32), samples, now)
    assert whole[int(np.digitize(0.04, KNOTS))] == pytest.approx(1.0, rel=1e-5) and np.count_nonzero(whole) == 1


def test_a_knocked_camera_is_told_by_what_always_looked_alike():
    draw = np.random.default_rng(0)

    def frame(bar: int = 48) -> np.ndarray:
        """A wrist's view: the table with all that lies on it, and below it the gripper."""
        picture = draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        picture[bar:] = 40
        return picture

    usual = np.max([appearance(frame()) for _ in range(100)], axis=0)
    assert beyond_appearance(appearance(frame()), usual) == 0, "what always varies says nothing"
    assert beyond_appearance(appearance(frame(52)), usual) > 0.05, "the table is where the gripper was"
    assert beyond_appearance(appearance(frame()), np.concatenate([np.ones(3072), np.zeros(3072)])) == 0


def test_one_odd_run_does_not_blind_a_sign():
    draw = np.random.default_rng(0)
    runs = [usual_run(draw) for _ in range(60)]
    plain = calibrate(runs, 0.2, 0.05).usual["arm follows"]
    runs[7][3]["arm follows"] = np.full(12, 5.0)
    assert np.allclose(calibrate(runs, 0.2, 0.05).usual["arm follows"], plain, rtol=0.2)


def test_a_joint_within_its_commands_follows_and_one_beyond_them_does_not():
    commands = np.array([[0.0, 1.0], [0.1, 1.0]])
    assert np.allclose(outside(np.array([0.05, 1.0]), commands), 0)
    assert np.allclose(outside(np.array([0.3, 0.6]), commands), [0.2, 0, 0, 0.4])


def test_inverse_dynamics_is_judged_over_all_pictures():
    inferred = np.array([[0.1, 0.0], [-0.1, 1.0]])
    assert np.allclose(inverse_error(inferred, np.zeros((2, 2))), [0, 0.5])


def test_a_frozen_picture_counts_the_way_of_the_arm_until_it_changes():
    still, frame = Stillness(), np.zeros((8, 8, 3), np.uint8)
    ways = [still.add(frame, np.array([0.1 * i, 0.0], np.float32)) for i in range(4)]
    assert np.allclose(ways, [0, 0.1, 0.2, 0.3])
    assert still.add(frame + 1, np.array([9.0, 9.0], np.float32)) == 0


def test_calibrated_alarms_keep_their_rate_for_all_signs_together():
    """Over many calibrations, new normal episodes pass at most the promised share; ones that lag thrice do."""
    alarms, noticed = [], []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        limits = calibrate([usual_run(draw) for _ in range(100)], 0.2, 0.05)
        score = lambda run, limits=limits: max(max(limits.scores(r).values()) for r in run)  # noqa: E731
        alarms += [score(usual_run(draw)) >= 1 for _ in range(40)]
        noticed += [score(usual_run(draw, 3.0)) >= 1 for _ in range(10)]
    assert np.mean(alarms) <= 0.06, np.mean(alarms)
    assert np.mean(noticed) > 0.9, np.mean(noticed)


def test_signs_are_heard_for_a_second_and_the_greatest_is_named():
    usual = {"arm follows": (0.01,), "inverse arm": (0.1,)}
    surprise = Surprise(Calibration(0.5, 0.2, 0.05, 60, usual, dict.fromkeys(usual, math.log(2))))
    assert surprise.hear(0, {"arm follows": np.array([0.02]), "unknown": np.array([9.0])}) == pytest.approx(1)
    assert surprise.hear(NS_PER_S // 2, {"inverse arm": np.array([0.4])}) == pytest.approx(1), "told beside it"
    assert (surprise.reason, surprise.inverse) == ("arm follows", pytest.approx(2))
    assert surprise.hear(2 * NS_PER_S, {"arm follows": np.array([0.001])}) == 0
    assert surprise.reason == "" and math.isnan(surprise.inverse)


def test_inverse_dynamics_keeps_a_rate_of_its_own():
    draw = np.random.default_rng(0)

    def run() -> list[dict[str, np.ndarray]]:
        return [r | {"inverse arm": np.abs(draw.standard_t(2, 6))} for r in usual_run(draw)]

    runs = [run() for _ in range(100)]
    apart, alone = calibrate_apart(runs, 0.2, 0.05), calibrate(runs, 0.2, 0.05, lambda sign: sign == "arm follows")
    both = calibrate([[{k: r[k] for k in r if k != "inverse arm"} for r in run] for run in runs], 0.2, 0.05)
    assert set(apart.usual) == {"arm follows", "front imagined", "inverse arm"}
    assert apart.spread["arm follows"] == both.spread["arm follows"] >= alone.spread["arm follows"]
    new = [run() for _ in range(200)]
    alarms = [max(apart.scores(r)["inverse arm"] for r in run) >= 1 for run in new]
    assert np.mean(alarms) <= 0.09, np.mean(alarms)


def test_conformal_thresholds_keep_their_rate_and_refuse_what_they_cannot_promise():
    draw = np.random.default_rng(0)
    passed = [draw.normal() > conformal(draw.normal(size=39).tolist(), 0.05) for _ in range(4000)]
    assert 0.03 < np.mean(passed) <= 0.06
    with pytest.raises(ConfigError, match="at least 19"):
        conformal([1.0] * 18, 0.05)


def test_a_calibration_survives_its_file_and_a_broken_one_is_named(tmp_path):
    assert load_calibration(tmp_path) is None
    calibration = Calibration(0.5, 0.2, 0.05, 40, {"front imagined": (0.1, 0.2)}, {"front imagined": 0.3})
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    path = calibration.save(tmp_path)
    assert load_calibration(tmp_path) == replace(calibration, weights=fingerprint(tmp_path))
    whole = path.read_text()
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"surprise\.json.*write it anew"):
        load_calibration(tmp_path)
    path.write_text(whole.replace('"signs": 2', '"signs": 1'))
    with pytest.raises(ConfigError, match="again"):
        load_calibration(tmp_path)
    path.write_text('{"warm": 2}')
    with pytest.raises(ConfigError, match="did you mean 'warn'"):
        load_calibration(tmp_path)


def test_a_calibration_is_of_the_weights_that_it_was_made_with(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    Calibration(0.5, 0.2, 0.05, 40, {}, {}).save(tmp_path)
    assert load_calibration(tmp_path) is not None
    weights.write_bytes(b"weights trained anew")
    assert load_calibration(tmp_path) is None
    assert load_calibration(share_folder() / "models" / "uwm_tabletop") is not None


def test_a_reading_of_a_moment_ago_does_not_silence_what_was_heard_since():
    usual = {"arm follows": (0.01,), "front imagined": (0.1,)}
    surprise = Surprise(Calibration(0.5, 0.2, 0.05, 60, usual, dict.fromkeys(usual, math.log(2))))
    surprise.hear(NS_PER_S, {"arm follows": np.array([0.04])})
    earlier_ns = NS_PER_S - NS_PER_S // 10  # the other thread took this long to judge its picture
    assert surprise.hear(earlier_ns, {"front imagined": np.array([0.1])}) == pytest.approx(2)
    assert surprise.reason == "arm follows"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"warn": 0.5,', "key 'warn' is given twice"),
        ('"episodes": true,', "key 'episodes' is given twice"),
    ],
)
def test_a_doubled_key_of_a_calibration_is_refused(tmp_path, text, message):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    calibration = Calibration(0.5, 0.2, 0.05, 40, {"front imagined": (0.1, 0.2)}, {"front imagined": 0.3})
    path = calibration.save(tmp_path)
    path.write_text(path.read_text().replace("{", "{" + text, 1))
    with pytest.raises(ConfigError, match=message):
        load_calibration(tmp_path)


@pytest.mark.parametrize("usual", [{"front imagined": (0.0, 0.2)}, {"front imagined": ()}, {"other": (0.1,)}])
def test_limits_that_nothing_can_be_divided_by_are_refused(tmp_path, usual):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    Calibration(0.5, 0.2, 0.05, 40, usual, {"front imagined": 0.3}).save(tmp_path)
    with pytest.raises(ConfigError, match=r"surprise\.json: .*(must be > 0|different signs)"):
        load_calibration(tmp_path)


def test_a_calibration_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "surprise.json").mkdir()
    with pytest.raises(ConfigError, match=r"surprise\.json: cannot be written: "):
        Calibration(0.5, 0.2, 0.05, 40, {"front imagined": (0.1,)}, {"front imagined": 0.3}).save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "surprise.json"]
