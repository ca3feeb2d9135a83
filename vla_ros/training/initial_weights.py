"""The weights of a model folder that a training of a tiny backbone starts from."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from vla_ros.core.errors import ConfigError
from vla_ros.policies.backbones.words import Words, load_words
from vla_ros.policies.loading import find_model, load_model


def initial_weights(folder: Path, words: Words, threads: int) -> dict[str, Tensor]:
    """All of its weights; ConfigError where its words are not the first of ours: each would mean another one."""
    weights: dict[str, Tensor] = _network(load_model(folder, threads=threads), folder).state_dict()
    known = load_words(find_model(folder), words.count).known
    for place, (its, ours) in enumerate(zip(known, words.known, strict=False)):
        if its != ours:
            raise ConfigError(f"{folder}: its word {place} is '{its}', that of this training '{ours}'; train it anew")
    return weights


def _network(model: object, folder: Path) -> nn.Module:
    network = getattr(model, "model", None)
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{folder}: a {type(model).__name__} has no network to start from")
    return network
