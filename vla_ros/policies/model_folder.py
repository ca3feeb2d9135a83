"""A model folder on disk: found, checked, and written whole or not at all. Every place that writes one does so here.

config.yaml says what the network is, model.safetensors holds its weights; statistics.json, words.json and a folder of a
library's backbone go with some kinds, and manifest.json ties them together. README.md, evaluation.json and
surprise.json are added later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from torch import nn

from vla_ros.core.config import to_plain
from vla_ros.core.errors import ConfigError, ModelError, did_you_mean
from vla_ros.core.paths import share_folder
from vla_ros.policies.manifest import FILE as MANIFEST
from vla_ros.policies.manifest import check_manifest, digest, write_digests, write_manifest
from vla_ros.policies.weights import FILE as WEIGHTS
from vla_ros.policies.weights import save_weights
from vla_ros.policies.whole_folder import whole_folder

CONFIG, CARD = "config.yaml", "README.md"
KNOWN = (
    CONFIG,
    WEIGHTS,
    MANIFEST,
    CARD,
    "statistics.json",
    "words.json",
    "surprise.json",
    "evaluation.json",
    "backbone",
)


class Part(Protocol):
    """Something that goes into a model folder beside config and weights, such as statistics or words."""

    def save(self, folder: Path) -> None:
        """Write its file."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model folder whose files belong together."""

    path: Path

    @classmethod
    def read(cls, name: Path | str) -> ModelFolder:
        """Find a folder by its path, or by its bare name in the package's `models/`, and check its manifest.

        Raises ModelError where there is none, or where a file is not the one that the folder was written with.
        """
        path = find_model(name)
        check_manifest(path)
        return cls(path)

    @classmethod
    def write(
        cls,
        out: Path,
        config: Any,
        network: nn.Module,
        *parts: Part,
        card: str = "",
        fill: Callable[[Path], None] | None = None,
    ) -> ModelFolder:
        """Write a folder whole or not at all; one that is there is replaced, with what was measured of it.

        config: the kind's dataclass, which becomes config.yaml. card: README.md; `vla-ros eval --card` writes it later.
        fill: adds what else belongs to the model, such as a library's backbone, before anything is hashed.
        Raises ConfigError as `check_out` does.
        """
        check_out(out)
        with cls.writing(out) as part:
            if fill is not None:
                fill(part)
            write_files(part, config, network, *parts, card=card)
        return cls(out)

    @classmethod
    @contextmanager
    def writing(cls, out: Path) -> Iterator[Path]:
        """Yield a folder to fill beside `out`; at the end its files are tied together, and it becomes `out`."""
        with whole_folder(out) as part:
            yield part
            write_manifest(part)


def find_model(name: Path | str) -> Path:
    """A model folder by its path, or by its bare name in the package's `models/`."""
    for folder in (Path(name), share_folder() / name, share_folder() / "models" / name):
        if (folder / CONFIG).is_file():
            return folder
    known = [config.parent.name for config in (share_folder() / "models").glob(f"*/{CONFIG}")]
    raise ModelError(f"{name}: no model folder (a folder with config.yaml){did_you_mean(Path(name).name, known)}")


def check_out(out: Path) -> None:
    """ConfigError where a training may not write: over the models that ship, or over anything but a model folder.

    For the moment before hours of training, and again before writing.
    """
    if out.resolve().is_relative_to((share_folder() / "models").resolve()):
        raise ConfigError(f"out: {out} is among the models that ship, which nothing writes over; use runs/{out.name}")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError(f"out: {out} is there and is no folder; name a folder to make")
    if out.is_dir() and (strange := sorted(path.name for path in out.iterdir() if path.name not in KNOWN)):
        raise ConfigError(f"out: {out} holds {strange[0]}, which is no part of a model folder; name another folder")


def write_files(folder: Path, config: Any, network: nn.Module, *parts: Part, card: str = "") -> None:
    """Write config, weights, parts and card into `folder`, which `ModelFolder.writing` gave."""
    (folder / CONFIG).write_text(yaml.safe_dump(to_plain(config), sort_keys=False), encoding="utf-8")
    save_weights(network, folder / WEIGHTS)
    for part in parts:
        part.save(folder)
    if card:
        (folder / CARD).write_text(card, encoding="utf-8")


def write_among(folder: Path, network: nn.Module, config: Any = None) -> None:
    """Write weights, and a config where there is one, into a folder that holds other things, such as a run's.

    The manifest comes first: broken off anywhere, what is left is refused, and never read as something whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder / ".written") as part:
        if config is not None:
            (part / CONFIG).write_text(yaml.safe_dump(to_plain(config), sort_keys=False), encoding="utf-8")
        save_weights(network, part / WEIGHTS)
    files = sorted((folder / ".written").iterdir())
    write_digests(folder, {file.name: digest(file) for file in files})
    for file in files:
        file.replace(folder / file.name)
    (folder / ".written").rmdir()
