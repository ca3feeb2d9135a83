"""Known vulnerabilities and licences of what is installed: `make audit`. Ends with 1 on a finding, 3 if it cannot ask.

Its own tools live in a folder of their own, so that what is audited does not change by being audited.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "out" / "audit"
FREE = (
    "apache",
    "bsd",
    "mit",
    "mpl",
    "mozilla public",
    "python software foundation",
    "psf",
    "isc",
    "cnri",
    "zlib",
    "cc0",
    "public domain",
    "any-osi",
    "unlicense",
    "bsl-1.0",
    "hpnd",
    "0bsd",
)
STRONG = ("gpl", "gnu general public", "agpl", "sspl", "busl", "commons clause")
KNOWN = {
    "av": "BSD itself; its wheel carries FFmpeg with libx264 and libx265, which are GPL-2.0-or-later: matters to who "
    "passes the wheel or an image with it on. Only training, export and `eval bag` import it",
    "codespell": "GPL-2.0, a tool that colcon's linters run; nothing imports it or passes it on; development only",
    "docutils": "public domain but for one Emacs file under the GPL, which nothing here uses; development only",
}
ROS = "ROS packages declare no licence in their wheels; package.xml of each says Apache-2.0 or BSD"
FINDING, CANNOT_ASK = 1, 3


def vulnerabilities(report: dict[str, Any]) -> tuple[list[str], int, list[str]]:
    """From pip-audit's JSON: the findings, how many packages were asked about, and which the database did not know."""
    found, asked, unknown = [], 0, []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unknown.append(str(package["name"]))
            continue
        asked += 1
        for flaw in package["vulns"]:
            mended = ", ".join(flaw["fix_versions"]) or "no release yet"
            found.append(f"{package['name']} {package['version']}: {flaw['id']}; mended in {mended}")
    return found, asked, unknown


def licences(packages: Sequence[dict[str, str]]) -> tuple[list[str], list[str]]:
    """From pip-licenses' JSON: what is not known to be free to pass on, and what is to be said beside."""
    wrong, said = [], []
    nameless = 0
    for package in packages:
        name, licence = package["Name"].lower(), package["License"]
        if name in KNOWN:
            said.append(f"{name}: {KNOWN[name]}")
        elif licence == "UNKNOWN" and _of_ros(name):
            nameless += 1
        elif any(word in licence.lower() for word in STRONG) or not _free(licence):
            wrong.append(f"{package['Name']} {package['Version']}: {licence}")
    return wrong, [*said, *([f"{nameless} packages: {ROS}"] if nameless else [])]


def _free(licence: str) -> bool:
    return any(re.search(rf"\b{re.escape(word)}", licence.lower()) for word in FREE)


def _of_ros(name: str) -> bool:
    parts = ("ros-", "ros_", "rosidl", "rosgraph", "rcl", "rcutils", "rmw")
    return name.startswith(parts) or name.replace("-", "_").endswith(("_msgs", "_srvs", "_interfaces"))


def tools() -> Path:
    """The folder with pip-audit and pip-licenses, made anew where it is not there."""
    if not (TOOLS / "bin" / "pip-licenses").exists():
        venv.create(TOOLS, with_pip=True, clear=True)
        subprocess.run([TOOLS / "bin" / "pip", "install", "-q", "pip-audit>=2.7", "pip-licenses>=5"], check=True)
    return TOOLS / "bin"


def asked(command: Sequence[str | Path]) -> Any:
    """The JSON that a tool prints; None where it prints none, after what it said instead."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        print(done.stderr.strip()[-500:])
        return None


def main() -> int:
    """Ask, print, judge."""
    at = tools()
    code = 0
    packages = asked([at / "pip-licenses", f"--python={sys.executable}", "--format=json"])
    wrong, said = licences(packages or [])
    print(f"licences: {len(packages or [])} packages, {len(wrong)} to look at", *wrong, *said, sep="\n  ")
    code = FINDING if wrong or not packages else 0
    where = next(path for path in sys.path if path.endswith("site-packages"))
    report = asked([at / "pip-audit", "--path", where, "--skip-editable", "--progress-spinner", "off", "-f", "json"])
    found, count, unknown = vulnerabilities(report or {"dependencies": []})
    print(f"vulnerabilities: {count} packages asked about, {len(found)} findings", *found, sep="\n  ")
    if unknown:
        print(f"  not in the database: {len(unknown)} ({', '.join(unknown[:5])}, ...)")
    if found:
        return FINDING
    if count < len(unknown):
        print("vulnerabilities: the database could not be asked about most packages; nothing is known either way")
        return code or CANNOT_ASK
    return code


if __name__ == "__main__":
    sys.exit(main())
