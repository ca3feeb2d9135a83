"""`vla-ros bench surprise`: how many simulated anomalies the world model notices, and how soon.

Calibration, held-out normal and disturbed episodes use different seeds. An anomaly counts as noticed if surprise
reaches 1 (ERROR) within two seconds after its onset.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from vla_ros.core.surprise.score import Calibration
from vla_ros.core.surprise.signs import Reading
from vla_ros.evaluation.closed_loop import wilson
from vla_ros.evaluation.surprise_episodes import LIMIT_S, ONSET_S, SEEN_S, Job, Run, calibrate_runs, watch
from vla_ros.sim.tabletop.anomalies import ANOMALIES

CALIBRATION_SEED, NORMAL_SEED, ANOMALY_SEED = 140000, 250000, 260000
CONDITIONS = {"all signs": True, "without inverse dynamics": False}  # the node publishes the latter


@dataclass(frozen=True, slots=True)
class Options:
    """calibration, normal, anomalies: episodes to calibrate with, to count false alarms in, and of each anomaly.

    kept: folder to cache the episodes in, see `watch`.
    """

    calibration: int = 120
    normal: int = 100
    anomalies: int = 30
    samples: int = 4
    warn_rate: float = 0.2
    error_rate: float = 0.05
    processes: int = 1
    kept: Path | None = None


def bench_surprise(
    model: str, options: Options, progress: Callable[[Iterator[Run], int], Iterator[Run]] = lambda runs, _: runs
) -> dict[str, Any]:
    """Run all episodes, calibrate on the first, and report on the others, with and without inverse dynamics."""
    jobs = [*_normal(CALIBRATION_SEED, options.calibration), *_normal(NORMAL_SEED, options.normal)]
    jobs += [(ANOMALY_SEED + i, anomaly.name) for i in range(options.anomalies) for anomaly in ANOMALIES]
    runs = list(
        progress(watch(model, jobs, samples=options.samples, processes=options.processes, kept=options.kept), len(jobs))
    )
    calibration, normal = runs[: options.calibration], runs[options.calibration :][: options.normal]
    disturbed = runs[options.calibration + options.normal :]
    found: dict[str, Any] = {
        "model": model,
        "seconds": LIMIT_S,
        "within_s": SEEN_S,
        "error_rate": options.error_rate,
        "calibration_episodes": sum(run.success for run in calibration),
        "normal_episodes": len(normal),
        "no_onset": sum(run.onset_s is None for run in disturbed),
    }
    for name, inverse in CONDITIONS.items():
        limits = calibrate_runs(calibration, options.warn_rate, options.error_rate, inverse)
        found[name] = report(limits, normal, [run for run in disturbed if run.onset_s is not None])
    return found


def _normal(seed: int, count: int) -> list[Job]:
    return [(seed + i, "") for i in range(count)]


def report(limits: Calibration, normal: Sequence[Run], disturbed: Sequence[Run]) -> dict[str, Any]:
    """Return false alarms in normal episodes; rate, delay and ROC area by anomaly, and by camera."""
    alarms = sum(greatest(limits, run.readings) >= 1 for run in normal)
    draw = np.random.default_rng(0)
    windows = [(run, float(draw.uniform(*ONSET_S))) for run in normal]
    quiet = [greatest(limits, _while(run, start_s)) for run, start_s in windows]
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in disturbed:
        groups[run.anomaly].append(run)
        if run.anomaly.startswith("camera"):
            groups[f"{run.anomaly}, {run.camera}"].append(run)
    return {
        "false_alarms": f"{alarms}/{len(normal)}",
        "false_alarm_rate": round(alarms / max(len(normal), 1), 3),
        "false_alarm_confidence_95": [round(x, 3) for x in wilson(alarms, len(normal))],
        "anomalies": {name: _detection(limits, group, quiet) for name, group in sorted(groups.items())},
    }


def _detection(limits: Calibration, runs: Sequence[Run], quiet: Sequence[float]) -> dict[str, Any]:
    delays = [found for run in runs if (found := noticed_s(limits, run)) is not None]
    scores = [greatest(limits, _while(run, run.onset_s or 0.0)) for run in runs]
    return {
        "episodes": len(runs),
        "detected": len(delays),
        "rate": round(len(delays) / len(runs), 3),
        "confidence_95": [round(x, 3) for x in wilson(len(delays), len(runs))],
        "delay_s_p50": round(float(np.median(delays)), 2) if delays else None,
        "delay_s_max": round(max(delays), 2) if delays else None,
        "roc_area": round(roc_area(quiet, scores), 3),
    }


def noticed_s(limits: Calibration, run: Run) -> float | None:
    """Return how long after the onset surprise reached 1; None if it did not in time."""
    for time_s, reading in _while(run, run.onset_s or 0.0):
        if max(limits.scores(reading).values(), default=0.0) >= 1:
            return time_s - (run.onset_s or 0.0)
    return None


def greatest(limits: Calibration, readings: Sequence[tuple[float, Reading]]) -> float:
    """Return the greatest surprise of all readings."""
    return max((score for _, reading in readings for score in limits.scores(reading).values()), default=0.0)


def _while(run: Run, start_s: float) -> list[tuple[float, Reading]]:
    return [(time_s, reading) for time_s, reading in run.readings if start_s <= time_s <= start_s + SEEN_S]


def roc_area(quiet: Sequence[float], scores: Sequence[float]) -> float:
    """Return the probability that a disturbed window scores higher than a quiet one; ties count half (Mann-Whitney)."""
    lower = np.sort(np.asarray(quiet))
    below, up_to = np.searchsorted(lower, scores, "left"), np.searchsorted(lower, scores, "right")
    return float((below + up_to).mean() / 2 / len(lower))


def table(found: dict[str, Any]) -> str:
    """Return the report as text."""
    lines = []
    for name in CONDITIONS:
        part = found[name]
        low, high = part["false_alarm_confidence_95"]
        lines.append(f"{name}: false alarms in {part['false_alarms']} normal episodes ({low:.1%} to {high:.1%})")
        lines.append(f"{'anomaly':<26}{'noticed':>9}{'rate':>8}{'delay p50':>11}{'max':>7}{'ROC area':>10}")
        for anomaly, row in part["anomalies"].items():
            delays = [f"{v:.2f} s" if v is not None else "-" for v in (row["delay_s_p50"], row["delay_s_max"])]
            noticed = f"{row['detected']}/{row['episodes']}"
            lines.append(
                f"{anomaly:<26}{noticed:>9}{row['rate']:>8.1%}{delays[0]:>11}{delays[1]:>7}{row['roc_area']:>10.3f}"
            )
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `vla-ros bench surprise`."""
    parser.add_argument("model", nargs="?", default="uwm_tabletop", help="a model folder, or its name in models/")
    parser.add_argument("--episodes", type=int, default=30, help="of each anomaly")
    parser.add_argument("--calibration", type=int, default=120, help="normal episodes to calibrate with")
    parser.add_argument("--normal", type=int, default=100, help="other normal episodes, for false alarms")
    parser.add_argument("--processes", type=int, default=1, help="episodes to run in parallel")
    parser.add_argument("--runs", type=Path, help="folder to cache episodes in")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark; return the report."""
    options = Options(args.calibration, args.normal, args.episodes, processes=args.processes, kept=args.runs)
    return bench_surprise(
        args.model, options, lambda runs, count: iter(track(runs, "episodes", count, disable=args.json))
    )
