"""Every example runs as its docstring says, and stays short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))
SAYS = {
    "00": "12 actions, 0.1 s apart",
    "01": "success rate:",
    "02": "waved for 4.0 s",
    "03": "did you mean 'max_velocity'?",
    "04": "held until a person arms again",
    "05": '"success_rate"',
    "06": "now | imagined | came",
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    number = example.name[:2]
    words = [str(tmp_path / "imagined.png")] if number == "06" else ["uwm_tabletop", "1"] if number == "01" else []
    words = ["2"] if number == "05" else words
    ended = subprocess.run(
        [sys.executable, str(example), *words], cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert SAYS[number] in ended.stdout


def test_examples_are_short() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES}
    assert [*SAYS] == [name[:2] for name in lengths]
    assert all(20 <= length <= 80 for length in lengths.values()), lengths
