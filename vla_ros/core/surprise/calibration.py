"""What is usual: thresholds of surprise from normal runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vla_ros.core.errors import ConfigError
from vla_ros.core.surprise.score import (
    FOLDS,
    LEAST_SPREAD,
    SEEN,
    TABLES,
    USUAL,
    Calibration,
    Chosen,
    _least,
    is_inverse,
)
from vla_ros.core.surprise.signs import Reading


def calibrate_apart(episodes: Sequence[Sequence[Reading]], warn_rate: float, error_rate: float) -> Calibration:
    """Calibrate, with the rates once for inverse dynamics and once for all other signs."""
    others = calibrate(episodes, warn_rate, error_rate, lambda sign: not is_inverse(sign))
    inverse = calibrate(episodes, warn_rate, error_rate, is_inverse)
    usual, spread = {**others.usual, **inverse.usual}, {**others.spread, **inverse.spread}
    return replace(others, usual=usual, spread=spread)


def calibrate(
    episodes: Sequence[Sequence[Reading]], warn_rate: float, error_rate: float, chosen: Chosen = lambda sign: True
) -> Calibration:
    """Calibrate from the readings of normal episodes; `chosen` says which signs count."""
    runs = [[{k: v for k, v in r.items() if chosen(k)} for r in episode] for episode in episodes]
    conformal([0.0] * len(runs), error_rate)  # refuses what so few runs cannot promise
    usual = _usual_of_runs(runs)
    excesses = [excess for fold in range(FOLDS) for excess in _excesses(runs, fold)]
    squares = {name: np.mean([excess.get(name, 0.0) ** 2 for excess in excesses]) for name in usual}
    spread = {name: max(LEAST_SPREAD, math.sqrt(square)) for name, square in squares.items()}
    scores = [max((value / spread[name] for name, value in excess.items()), default=0.0) for excess in excesses]
    alarm = max(conformal(scores, error_rate), 1.0)
    warn = min(max(conformal(scores, warn_rate), 0.5) / alarm, 1.0)
    return Calibration(warn, warn_rate, error_rate, len(runs), usual, {k: v * alarm for k, v in spread.items()})


def _excesses(runs: Sequence[Sequence[Reading]], fold: int) -> list[dict[str, float]]:
    """Return by how much each sign of a fold's runs exceeds what is usual in the other runs."""
    usual = _usual_of_runs([run for i, run in enumerate(runs) if i % FOLDS != fold])
    plain = Calibration(0, 0, 0, 0, usual, dict.fromkeys(usual, 1.0))
    return [_largest(plain, run) for run in runs[fold::FOLDS]]


def _usual_of_runs(runs: Sequence[Sequence[Reading]]) -> dict[str, tuple[float, ...]]:
    """Return what USUAL of the runs stay within, so that one odd run does not blind a sign."""
    each = [usual_of(run) for run in runs]
    found: dict[str, tuple[float, ...]] = {}
    for name in sorted({name for run in each for name in run}):
        share = 1.0 if name.endswith(SEEN) else USUAL
        values = np.quantile([run[name] for run in each if name in run], share, axis=0, method="higher")
        found[name] = tuple(np.maximum.accumulate(values).tolist() if name.endswith(TABLES) else values.tolist())
    return found


def usual_of(readings: Sequence[Reading]) -> dict[str, tuple[float, ...]]:
    """Return the largest value of each number of each sign."""
    found: dict[str, tuple[float, ...]] = {}
    for name in sorted({name for reading in readings for name in reading}):
        values = np.max([reading[name] for reading in readings if name in reading], axis=0)
        values = np.maximum.accumulate(values) if name.endswith(TABLES) else values
        values = values if name.endswith(SEEN) else np.maximum(values, _least(name))
        found[name] = tuple(float(f"{value:.4g}") for value in values)
    return found


def _largest(calibration: Calibration, run: Sequence[Reading]) -> dict[str, float]:
    """Return the greatest surprise of each sign in an episode."""
    found: dict[str, float] = {}
    for reading in run:
        for name, score in calibration.scores(reading).items():
            found[name] = max(found.get(name, 0.0), score)
    return found


def conformal(scores: Sequence[float], rate: float) -> float:
    """Return the threshold that the next score of its kind passes with at most probability `rate` (split conformal)."""
    rank = math.ceil((len(scores) + 1) * (1 - rate))
    if rank > len(scores):
        raise ConfigError(
            f"a false-alarm rate of {rate:g} needs at least {math.ceil(1 / rate) - 1} runs, got {len(scores)}"
        )
    return float(np.sort(np.asarray(scores, dtype=np.float64))[rank - 1])
