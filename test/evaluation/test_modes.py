"""`vla-ros eval modes`: the sums are right, the truth scores as the truth, and a model is no better than itself."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from vla_ros.cli import eval as cli
from vla_ros.cli.main import main
from vla_ros.core.errors import ConfigError
from vla_ros.evaluation import modes
from vla_ros.evaluation.answers import answer, windows_at
from vla_ros.evaluation.frames import MOVED, frame_figures, moving, score
from vla_ros.evaluation.intervals import Comparison, bootstrap
from vla_ros.evaluation.modes import ModesOptions, record_held_out
from vla_ros.evaluation.modes_table import table
from vla_ros.policies.loading import load_policy

FEW = ModesOptions(episodes=2, windows=12, steps=2)


@pytest.fixture(scope="module")
def frames() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(now, true future, prediction) of three windows and two cameras; a corner moves."""
    rng = np.random.default_rng(0)
    now = rng.random((3, 2, 16, 16, 3)).astype(np.float32)
    true = np.repeat(now[:, :, None], 2, axis=2)
    true[..., :4, :5, 1] = 1.2 - true[..., :4, :5, 1]
    return now, true, np.clip(true + rng.normal(0, 0.05, true.shape), 0, 1).astype(np.float32)


def test_the_moving_region_is_where_a_colour_changed_enough(frames) -> None:
    now, true, _ = frames
    mask = moving(now, true)
    assert mask.shape == (3, 2, 2, 16, 16) and not mask[..., 4:, :].any() and not mask[..., 5:].any()
    corner = np.abs(true - now[:, :, None])[..., :4, :5, 1] > MOVED
    assert (mask[..., :4, :5] == corner).all() and 0.5 < corner.mean() < 1


def test_scores_are_those_of_scikit_image(frames) -> None:
    now, true, predicted = frames
    mask = moving(now, true)
    sums = score(predicted, true, mask)
    whole = frame_figures(sums.sum((0, 1)))
    assert whole["psnr_db"] == pytest.approx(peak_signal_noise_ratio(true, predicted, data_range=1.0), abs=2e-3)
    assert whole["moving_psnr_db"] == pytest.approx(
        peak_signal_noise_ratio(true[mask], predicted[mask], data_range=1.0), abs=2e-3
    )
    settings: dict[str, Any] = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1)
    one, full = structural_similarity(predicted[1, 0, 1], true[1, 0, 1], data_range=1.0, full=True, **settings)
    alone = frame_figures(score(predicted[1:2, :1, 1:], true[1:2, :1, 1:], mask[1:2, :1, 1:]).sum((0, 1)))
    assert alone["ssim"] == pytest.approx(one, abs=1e-4)
    assert alone["moving_ssim"] == pytest.approx(full.mean(-1)[mask[1, 0, 1]].mean(), abs=1e-4)


def test_where_nothing_moves_there_is_no_figure(frames) -> None:
    _, true, predicted = frames
    still = frame_figures(score(predicted, true, np.zeros(true.shape[:-1], dtype=bool)).sum((0, 1)))
    assert still["moving_psnr_db"] is None and still["moving_ssim"] is None and still["psnr_db"] is not None


def test_the_interval_is_over_groups_not_rows() -> None:
    """Ten copies of each of 30 values: the interval is that of 30."""
    values = np.random.default_rng(1).normal(size=30)
    rows = np.stack([np.repeat(values, 10), np.ones(300)], axis=1)
    found = bootstrap(rows, np.repeat(np.arange(30), 10), lambda sums: sums[..., 0] / sums[..., 1])
    assert found["value"] == pytest.approx(values.mean(), abs=1e-4)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * values.std() / np.sqrt(30), rel=0.15)


def test_differences_are_positive_where_the_first_is_better() -> None:
    over, rng = Comparison(np.arange(8)), np.random.default_rng(0)
    large = rng.uniform(1, 2, (8, 2, 6))
    assert over.decibels(large / 10, large) == {"value": 10.0, "low": 10.0, "high": 10.0}
    assert over.smaller(large[:, 0, 0] - 0.25, large[:, 0, 0])["value"] == pytest.approx(0.25)
    assert over.ratio(large[:, 0, 0] / 2, large[:, 0, 0])["value"] == pytest.approx(2)


@pytest.fixture(scope="module")
def held_out():
    return record_held_out(FEW)


def test_windows_hold_what_was_done_and_seen_next(held_out) -> None:
    index = held_out.windows(12)[[0, 5]]
    windows = windows_at(held_out, index, 12, (6, 12), np.random.default_rng(0))
    assert windows.now.shape == (2, 2, 64, 64, 3) and windows.future.shape == (2, 2, 2, 64, 64, 3)
    wrist = held_out.images["wrist"]
    assert (windows.now[1, 1] == wrist[index[1]]).all() and (windows.future[1, 1, 0] == wrist[index[1] + 6]).all()
    assert (windows.executed[0] == held_out.executed[index[0] : index[0] + 12]).all()
    assert windows.rows(slice(1, 2)).sentences == windows.sentences[1:]


def test_held_out_episodes_are_not_those_of_training(held_out) -> None:
    assert held_out.episode.min() >= 2 * 10000
    with pytest.raises(ConfigError, match=r"seed must be > 9999 .*, got 9999"):
        record_held_out(ModesOptions(seed=9999))


def test_answers_repeat_and_do_not_depend_on_the_batch(held_out, tiny_model: Path, monkeypatch) -> None:
    policy = load_policy(tiny_model)
    for parameter in policy.model.noise_pred_net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # zero modulation would make every answer the same
    windows = windows_at(held_out, held_out.windows(12)[:5], 12, (6, 12), np.random.default_rng(0))
    whole = answer(policy.model, policy.statistics, windows, 2)
    monkeypatch.setattr(modes, "BATCH", 2)
    parts = answer(policy.model, policy.statistics, windows, 2)
    assert set(whole) == set(parts) and "unconditional" in whole
    for name, tensor in whole.items():
        assert len(tensor) == 5 and torch.allclose(tensor, parts[name], atol=1e-4), name
    assert not torch.allclose(whole["forward"], whole["video"], atol=1e-4)
    assert not torch.allclose(whole["forward"], whole["forward_wrong_action"], atol=1e-4)
    assert not torch.allclose(whole["policy"], whole["policy_without_instruction"], atol=1e-4)


def test_a_model_that_knows_the_answers_is_measured_as_such(held_out, tiny_model: Path, monkeypatch) -> None:
    """Executed actions as the inverse's answer: no error. The true latents as the forward's: the ceiling."""
    policy = load_policy(tiny_model)
    windows = windows_at(held_out, held_out.windows(12)[::3], 12, (6, 12), np.random.default_rng(0))

    def oracle(model: Any, statistics: Any, *rest: Any) -> dict[str, torch.Tensor]:
        answers = answer(model, statistics, *rest)
        right = torch.from_numpy(statistics.normalise_action(windows.executed, windows.state))
        return answers | {"inverse": right, "forward": answers["reconstruction"]}

    monkeypatch.setattr(modes, "answer", oracle)
    own = modes.measure(policy, windows, ~held_out.is_gripper, FEW)
    assert own.actions["inverse"].max() < 1e-5 < own.actions["policy"].min()
    figures = modes.evidence(own, windows, ["front", "wrist"])
    assert figures["frames"]["forward"] == figures["frames"]["reconstruction"]
    assert figures["actions"]["inverse_smaller_by_rad"]["value"] == figures["actions"]["policy_mae_rad"]


def test_the_command_compares_models_and_writes_pictures(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "modes", str(tiny_model), "--episodes", "2", "--windows", "12", "--steps", "2", "--pictures"]
    assert main([*words, str(tmp_path), "--compare", f"twin={tiny_model}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["model"], found["windows"], found["sampling_steps"]) == ("tiny", 12, 2)
    assert set(found["frames"]["copy"]) == {"together", "front", "wrist"}
    assert found["compare"]["models"]["tiny"] == found["compare"]["models"]["twin"]
    (pair,) = found["compare"]["differences"]
    assert all(value == {"value": 0.0, "low": 0.0, "high": 0.0} for value in pair["better_by"].values())
    for camera in ("front", "wrist"):
        with Image.open(tmp_path / f"modes_{camera}.png") as picture:
            assert picture.size == (5 * 64 * 3, 6 * 64 * 3 + 12)
    text = table(found)
    assert "tiny is better than twin by" in text and "forward over video" in text and "unconditional video" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval", "modes", "uwm_tabletop", "--compare", "twin"], "--compare must be NAME=FOLDER, got 'twin'"),
        (["eval", "modes", "uwm_tabletp"], "no model folder (a folder with config.yaml); did you mean 'uwm_tabletop'?"),
        (["eval", "modes", "uwm_tabletop", "--episodes", "1"], "episodes and windows must be >= 2, got 1 and 512"),
    ],
)
def test_what_does_not_fit_is_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "foreign"),
    [
        (["tabletop", "--windows", "3"], "--windows 3"),
        (["modes", "uwm_tabletop", "--card"], "--card"),
        (["questions", "vla_tabletop", "--held-out"], "--held-out"),
        (["bag", "x", "--seed", "3"], "--seed 3"),
    ],
)
def test_options_of_another_form_are_refused(
    words: list[str], foreign: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["eval", *words])
    assert end.value.code == 2 and f"unrecognized arguments: {foreign}" in capsys.readouterr().err


def test_a_model_alone_is_driven_closed_loop() -> None:
    """Also with options before it; forms keep their own defaults."""
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    for words in (["--json", "a", "--seed", "3"], ["a", "--json", "--seed", "3"]):
        given = parser.parse_args(cli.complete(words))
        assert (given.form, given.model, given.json, given.seed) == ("episodes", "a", True, 3)
    defaults = {words[0]: parser.parse_args([*cli.complete(words)]) for words in (["a"], ["modes", "a"])}
    assert (defaults["a"].episodes, defaults["modes"].episodes) == (120, 60)
    assert parser.parse_args(["bag", "b", "--policy", "m"]).bag == Path("b")
