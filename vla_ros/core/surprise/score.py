"""How unusual the signs are: 0 is as usual, 1 is an alarm that an episode of the same kind rarely gives.

Every normal run is held against what was usual in runs of other folds. That says how far each sign strays beyond the
usual, and where the alarm begins: at the conformal quantile, over whole runs, of the sign that strays farthest for its
kind (cross-conformal, Vovk 2015; `vla-ros bench surprise` counts false alarms in runs that had no part in it).
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from vla_ros.core.config import parse
from vla_ros.core.errors import ConfigError
from vla_ros.core.files import write_whole
from vla_ros.core.strict_json import load_json
from vla_ros.core.surprise.signs import Reading, Vector, beyond_appearance
from vla_ros.core.types import NS_PER_S

FILE = "surprise.json"
PIECE = 1 << 20  # bytes of weights that are read at once
FOLDS = 5
# Less than this is nothing, whatever the runs were like: latents squared, and rad of the arm or share of the gripper.
LEAST = {
    "imagined": 0.02,
    "whole": 0.01,
    "came": 0.05,
    "went": 0.05,
    "still": 0.05,
    "arm follows": 0.006,  # a bump at the wrist is no weak shoulder
    "gripper follows": 0.05,
    "inverse arm": 0.01,
    "inverse gripper": 0.3,  # when fingers close is not known to a step
    "seen": 5e-4,
}
LEAST_SPREAD = 0.05  # of the logarithm of an excess
INVERSE = "inverse"  # how the names of the signs of inverse dynamics begin
VERSION = 2  # of the signs; another once what one of them means has changed
SEEN = "seen"  # colours, whose limits are the extremes of all normal runs
USUAL = 0.95  # of normal runs stay within the limits of every other sign
TABLES = ("imagined", "whole")  # by imagined motion: where more is imagined, no less is forgiven
HOLD_S = 1.0  # a sign is heard for so long
Chosen = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Calibration:
    """`surprise.json` of a model folder; 1 is ERROR.

    warn: from here on WARN. warn_rate, error_rate: the shares of normal episodes that may reach them. episodes: how
    many set the thresholds. usual: what each number of each sign rarely exceeds in normal runs. spread: the logarithm
    of the excess over it that is an alarm. signs: which signs they are; others cannot be held against them. weights:
    of which they are, see `fingerprint`.
    """

    warn: float
    warn_rate: float
    error_rate: float
    episodes: int
    usual: Mapping[str, tuple[float, ...]]
    spread: Mapping[str, float]
    signs: int = VERSION
    weights: str = ""

    def scores(self, reading: Reading) -> dict[str, float]:
        """Return each sign's surprise; those that were not calibrated are left out."""
        known = {name: values for name, values in reading.items() if name in self.usual}
        return {name: _excess(name, values, self.usual[name]) / self.spread[name] for name, values in known.items()}

    def save(self, folder: Path) -> Path:
        """Write into the model folder, whose weights they are from then on."""
        path = folder / FILE
        plain = asdict(replace(self, weights=fingerprint(folder)))
        try:
            write_whole(path, json.dumps(plain) + "\n")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error}") from None
        return path


class Surprise:
    """The signs heard lately, and the greatest of them. Any thread may call."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self._lock = threading.Lock()
        self._heard: dict[str, tuple[int, float]] = {}

    def hear(self, now_ns: int, reading: Reading) -> float:
        """Take a reading and return the overall surprise."""
        scores = self.calibration.scores(reading)
        with self._lock:
            heard = self._heard | {name: (now_ns, score) for name, score in scores.items()}
            # Two threads call, each with the time of its own picture: what was heard may be later than now.
            self._heard = {name: item for name, item in heard.items() if abs(now_ns - item[0]) <= HOLD_S * NS_PER_S}
        return self.value

    @property
    def signs(self) -> dict[str, float]:
        """The surprise of each sign that was heard lately."""
        return {name: score for name, (_, score) in self._heard.items()}

    @property
    def value(self) -> float:
        """The greatest of them but for inverse dynamics; NaN where none was heard."""
        return max((score for name, score in self.signs.items() if not is_inverse(name)), default=math.nan)

    @property
    def inverse(self) -> float:
        """What inverse dynamics alone says; NaN where it said nothing."""
        return max((score for name, score in self.signs.items() if is_inverse(name)), default=math.nan)

    @property
    def reason(self) -> str:
        """The sign that `value` is of; empty where none is more than usual."""
        signs = {name: score for name, score in self.signs.items() if not is_inverse(name)}
        found = max(signs, key=signs.__getitem__, default="")
        return found if found and signs[found] > 0 else ""

    def clear(self) -> None:
        """Clear all signs."""
        with self._lock:
            self._heard = {}


def is_inverse(sign: str) -> bool:
    """Return whether a sign is one of inverse dynamics.

    These are reported apart: they found nothing that the others missed, and their false alarms would blunt the others
    (`vla-ros bench surprise`).
    """
    return sign.startswith(INVERSE)


def fingerprint(folder: Path) -> str:
    """Return a name for the weights of a model folder."""
    found = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                found.update(piece)
    return found.hexdigest()[:12]


def load_calibration(folder: Path) -> Calibration | None:
    """Load the calibration of a model folder; None if its weights were never calibrated."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        plain = load_json(path)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: {error}; run `vla-ros calibrate surprise` to write it anew") from None
    found = parse({"signs": 0, **plain} if isinstance(plain, dict) else plain, Calibration, str(path))
    _check_positive(found, path)
    if found.signs != VERSION:
        raise ConfigError(f"{path}: made for signs that are no longer read; run `vla-ros calibrate surprise` again")
    return found if found.weights == fingerprint(folder) else None


def _check_positive(found: Calibration, path: Path) -> None:
    """Raise ConfigError for a limit that a sign would be divided by, and that is not above 0."""
    limits = {name: values for name, values in found.usual.items() if not name.endswith(SEEN)}
    for name, values in {**limits, **{f"{name} (spread)": (value,) for name, value in found.spread.items()}}.items():
        if min(values, default=0.0) <= 0:
            raise ConfigError(f"{path}: {name} must be > 0; run `vla-ros calibrate surprise` to write it anew")
    if set(found.usual) != set(found.spread):
        raise ConfigError(f"{path}: usual and spread name different signs; run `vla-ros calibrate surprise` again")


def _excess(name: str, values: Vector, usual: Sequence[float]) -> float:
    """Return the logarithm of a sign's worst number relative to what is usual; 0 within."""
    limits = np.asarray(usual)
    seen = name.endswith(SEEN)
    times = beyond_appearance(values, limits) / _least(name) if seen else float((values / limits).max())
    return math.log(max(1.0, times))


def _least(name: str) -> float:
    return next(value for part, value in LEAST.items() if part in name)
