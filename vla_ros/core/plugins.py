"""Finds policies, environments, dataset formats and scorers by name: ours, and those of installed packages.

A package adds one with an entry point, such as `[project.entry-points."vla_ros.policies"]`. A name never leads to a
module that is not installed as an entry point: what a parameter or a model folder says is a name, not code.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from vla_ros.core.errors import ConfigError, did_you_mean


def known_plugins(group: str, ours: Mapping[str, str]) -> tuple[str, ...]:
    """Return every name of `group`, ours first."""
    return (*ours, *sorted(entry.name for entry in entry_points(group=group) if entry.name not in ours))


def load_plugin(group: str, name: str, ours: Mapping[str, str]) -> Any:
    """Return what `name` stands for.

    ours: name -> `module` or `module:attribute`; these cannot be replaced by other packages.
    Raises ConfigError for an unknown name, and for an installed package that cannot be imported.
    """
    if name in ours:
        module, _, attribute = ours[name].partition(":")
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found
    for entry in entry_points(group=group):
        if entry.name == name:
            try:
                return entry.load()
            except (ImportError, AttributeError) as error:
                package = entry.dist.name if entry.dist else "its package"
                raise ConfigError(f"'{name}' of {package} cannot be loaded: {error}") from error
    known = known_plugins(group, ours)
    raise ConfigError(f"'{name}' is not known{did_you_mean(name, known)}; known: {', '.join(known)} (group {group})")
