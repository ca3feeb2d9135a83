"""How far what came is from what was imagined, where the world model was sure; and from where on that is an alarm."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vla_ros.core.config import parse
from vla_ros.core.errors import ConfigError
from vla_ros.core.expectation import Expectation
from vla_ros.core.types import Observation

FILE = "surprise.json"
CELL_PX = 4  # pixels are compared in cells of this side, so that an edge off by one pixel is no surprise
WORST_SHARE = 0.05  # an anomaly is small in the picture: the mean over the worst cells, not over all
LATENT, PIXEL = "latent", "pixel"
Map = NDArray[np.float32]
Encode = Callable[[NDArray[np.uint8]], Map]  # (N, H, W, 3) frames -> (N, C, h, w) latents


@dataclass(frozen=True, slots=True)
class Departure:
    """Of one camera in one space. error, spread: (F, h, w) squared distance of what came from the samples' mean, and
    the samples' own variance, summed over channels."""

    error: Map
    spread: Map

    def score(self, floor: float) -> float:
        """1 is what is usual: error over spread and `floor`, the mean square error of normal runs, in the worst
        cells of the worst frame."""
        ratio = np.sqrt(self.error / (self.spread + floor)).reshape(len(self.error), -1)
        worst = max(1, round(WORST_SHARE * ratio.shape[1]))
        return float(np.sort(ratio, axis=1)[:, -worst:].mean(axis=1).max())


Departures = Mapping[str, Departure]  # by "camera space", such as "front latent"


@dataclass(frozen=True, slots=True)
class Calibration:
    """`surprise.json` of a model folder. warn, error: scores that a normal episode passes with at most these rates.

    floors: mean square error of normal runs, by camera and space. inverse_*: the same for inverse dynamics [rad].
    """

    warn: float
    error: float
    warn_rate: float
    error_rate: float
    episodes: int
    floors: Mapping[str, float]
    inverse_warn_rad: float
    inverse_error_rad: float

    def score(self, departures: Departures) -> float:
        """The worst camera, latents and pixels weighing the same."""
        cameras = {name.rpartition(" ")[0] for name in departures}
        return max(float(np.mean([self._score(departures, f"{camera} {space}") for space in (LATENT, PIXEL)]))
                   for camera in cameras)  # fmt: skip

    def _score(self, departures: Departures, name: str) -> float:
        if name not in self.floors:
            raise ConfigError(f"{FILE}: floors lack '{name}'; calibrate this model again")
        return departures[name].score(self.floors[name])

    def save(self, folder: Path) -> Path:
        """Write into the model folder."""
        path = folder / FILE
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        return path


def load_calibration(folder: Path) -> Calibration | None:
    """What the model folder holds; None where it was never calibrated."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")), Calibration, str(path))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: {error}; right would be what `vla-ros calibrate surprise` writes") from None


def depart(expectation: Expectation, came: Observation, encode: Encode) -> dict[str, Departure]:
    """Compare what came with every sample, for each camera in latents and in pixels."""
    found = {}
    for camera, frames in came.images.items():
        samples = [sample.images[camera] for sample in expectation.samples]
        latents = encode(np.concatenate([frames, *samples]))
        split = latents.reshape(len(samples) + 1, len(frames), *latents.shape[1:])
        found[f"{camera} {LATENT}"] = _departure(split[0], split[1:])
        cells = [_cells(part) for part in (frames, *samples)]
        found[f"{camera} {PIXEL}"] = _departure(cells[0], np.stack(cells[1:]))
    return found


def _departure(came: Map, samples: Map) -> Departure:
    """(F, C, h, w), (K, F, C, h, w)."""
    spread = samples.var(axis=0, ddof=1) if len(samples) > 1 else np.zeros_like(came)
    return Departure(((came - samples.mean(axis=0)) ** 2).sum(axis=1), spread.sum(axis=1))


def _cells(frames: NDArray[np.uint8]) -> Map:
    """(F, H, W, 3) uint8 -> (F, 3, H / CELL_PX, W / CELL_PX) in [0, 1], what is left over at the edges cut off."""
    count, height, width, _ = frames.shape
    rows, columns = height // CELL_PX, width // CELL_PX
    cut = frames[:, : rows * CELL_PX, : columns * CELL_PX].astype(np.float32) / 255
    means: Map = cut.reshape(count, rows, CELL_PX, columns, CELL_PX, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2)
    return means


def floors_of(runs: Sequence[Departures]) -> dict[str, float]:
    """Mean square error of normal runs, by camera and space."""
    return {name: float(np.mean([run[name].error.mean() for run in runs])) for name in runs[0]}


def conformal(scores: Sequence[float], rate: float) -> float:
    """A threshold that the next score of the same kind passes with at most probability `rate` (split conformal)."""
    rank = math.ceil((len(scores) + 1) * (1 - rate))
    if rank > len(scores):
        raise ConfigError(
            f"{len(scores)} runs cannot promise a false-alarm rate of {rate:g}; "
            f"right would be at least {math.ceil(1 / rate) - 1}"
        )
    return float(np.sort(np.asarray(scores, dtype=np.float64))[rank - 1])


def inverse_error_rad(inferred: Map, done: Map) -> float:
    """(F, J), (F, J) arm joints: the largest difference between what the frames tell of and what was done."""
    return float(np.abs(inferred - done).max())
