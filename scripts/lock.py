"""Write requirements.lock: every file that `make setup` installs in the tested environment, by version and SHA-256.

`make lock` runs it in .venv, whose versions it keeps. torch is left out: there is a CPU build and one for each CUDA
version, so that no one hash is right; constraints.txt says its version.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
FILES = (
    "requirements.txt",
    "requirements-ros.txt",
    "requirements-training.txt",
    "requirements-dev.txt",
    "requirements-docs.txt",
)
APART = ("torch",)
HEAD = """# What was tested, file by file; `make setup LOCKED=1` installs it, `make lock` writes it anew. Do not edit.
# Without torch, whose builds differ (CPU, CUDA): constraints.txt says its version.
# for: {tag}
"""


def tag() -> str:
    """Python, system and machine, which decide what files pip takes."""
    return f"python{sys.version_info.major}.{sys.version_info.minor} {platform.system()} {platform.machine()}".lower()


def name_of(text: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", text).lower()


def installed() -> list[str]:
    """Return `name==version` of what is in this environment, local builds and our own package left out."""
    listed = json.loads(subprocess.check_output([sys.executable, "-m", "pip", "list", "--format=json"], text=True))
    skipped = (*APART, "pip", "vla-ros")
    return [f"{item['name']}=={item['version']}" for item in listed if name_of(item["name"]) not in skipped]


def resolved() -> list[dict[str, Any]]:
    """Return what pip would install into an empty environment, as its report has it."""
    with tempfile.TemporaryDirectory() as folder:
        kept, report = Path(folder, "kept.txt"), Path(folder, "report.json")
        kept.write_text("\n".join(installed()) + "\n", encoding="utf-8")
        wanted = [word for file in FILES for word in ("-r", str(ROOT / file))]
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--dry-run",
            "--ignore-installed",
            "--report",
            str(report),
            "-c",
            str(kept),
            "-c",
            str(ROOT / "constraints.txt"),
            *wanted,
        ]
        subprocess.run(command, check=True)
        found: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
        return found


def line(item: dict[str, Any]) -> str:
    """One package of the lock."""
    digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
    return f"{name_of(item['metadata']['name'])}=={item['metadata']['version']} --hash=sha256:{digest}"


def main() -> None:
    """Write the file."""
    lines = sorted(line(item) for item in resolved() if name_of(item["metadata"]["name"]) not in APART)
    LOCK.write_text(HEAD.format(tag=tag()) + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{LOCK.name}: {len(lines)} packages for {tag()}")


if __name__ == "__main__":
    main()
