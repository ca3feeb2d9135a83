"""The errors a user can mend. Anything else that is raised is a bug of ours."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VlaRosError(Exception):
    """Something outside this package is wrong; the message says what, where, and what would be right."""


class ConfigError(VlaRosError):
    """A YAML file, a parameter or a command-line argument is wrong."""


class ContractError(VlaRosError):
    """Two parts disagree about cameras, joints, units or shapes."""


class ModelError(VlaRosError):
    """A model folder is missing, incomplete, damaged or not finite."""


class MessageError(VlaRosError):
    """A message or an image does not hold what its header promises."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'joint_names'?"`, or the list of known names if nothing is close."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(names) or '(none)'}"
