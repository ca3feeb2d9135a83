"""`manifest.json` of a model folder: the SHA-256 of every file that belongs together.

A folder without one (older, or made by hand) is read unchecked. What people read (README.md, evaluation.json) is not in
it, nor is surprise.json, which names the weights that it belongs to. Of config.yaml it holds what the weights depend
on: layout and comments are free, and so are FREE and contract.execute_steps, which a person may set.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from vla_ros.core.config import load_yaml
from vla_ros.core.errors import ModelError
from vla_ros.core.files import sha256, write_whole
from vla_ros.core.strict_json import load_json

FILE = "manifest.json"
APART = (FILE, "surprise.json", "evaluation.json")
SUFFIXES = (".yaml", ".json", ".safetensors")
DIGEST = re.compile(r"[0-9a-f]{64}")
FREE = ("precision", "sampling_steps", "example", "provenance")
HINT = f"copy the folder anew; if you changed it on purpose, delete {FILE}"


def belonging(folder: Path) -> dict[str, Path]:
    """Return what a manifest must name: config, weights and numbers, and all that lies in the folders below."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        below = len(inner.parts) > 1
        if any(part.startswith(".") for part in inner.parts) or path.is_dir():
            continue
        if below or (path.suffix in SUFFIXES and path.name not in APART):
            found[inner.as_posix()] = path
    return found


def digest(path: Path) -> str:
    """Return what a manifest says of a file: its SHA-256, and that of a config's content but for FREE."""
    if path.name != "config.yaml":
        return sha256(path)
    content = load_yaml(path)
    tied = {key: value for key, value in content.items() if key not in FREE} if isinstance(content, dict) else content
    if isinstance(tied, dict) and isinstance(contract := tied.get("contract"), dict):
        tied["contract"] = {key: value for key, value in contract.items() if key != "execute_steps"}
    return hashlib.sha256(json.dumps(tied, sort_keys=True, default=str).encode()).hexdigest()


def write_manifest(folder: Path) -> None:
    """Tie the files of a folder together as they are now."""
    write_digests(folder, {name: digest(path) for name, path in belonging(folder).items()})


def write_digests(folder: Path, digests: dict[str, str]) -> None:
    """Write what `check_manifest` reads."""
    write_whole(folder / FILE, json.dumps({"version": 1, "sha256": digests}, indent=1) + "\n")


def check_manifest(folder: Path, complete: bool = True) -> None:
    """ModelError unless the files are those that the manifest was written with, where the folder has one.

    complete: also refuse files that would be read and that it does not name.
    """
    path = folder / FILE
    if not path.exists() and not path.is_symlink():
        return
    digests = _digests(path)
    present = belonging(folder)
    for name, wanted in digests.items():
        if name not in present or not present[name].is_file():
            raise ModelError(f"{folder}: {name} is missing; {FILE} names it; {HINT}")
        if digest(present[name]) != wanted:
            raise ModelError(f"{folder}: {name} is not the file that {FILE} was written with; {HINT}")
    if complete and (strange := sorted(present.keys() - digests.keys())):
        raise ModelError(f"{folder}: {strange[0]} is not named in {FILE}: it does not belong to this model; {HINT}")


def _digests(path: Path) -> dict[str, str]:
    try:
        found: Any = load_json(path)
    except (ValueError, OSError) as error:
        raise ModelError(f"{path}: cannot be read: {error}; {HINT}") from None
    digests = found.get("sha256") if isinstance(found, dict) and found.get("version") == 1 else None
    if not isinstance(digests, dict) or not all(isinstance(d, str) and DIGEST.fullmatch(d) for d in digests.values()):
        raise ModelError(f"{path}: must hold version 1 and a SHA-256 for every file; {HINT}")
    return digests
