"""The documentation: it builds offline, no link is broken, figures name their command, the reference is current."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")], key=str)
README_MAX_LINES = 120
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"\b(vla-ros|make|pytest|torchrun) \w")
SOURCE_FILE = re.compile(r"`([\w./-]+\.(?:py|sh|toml))`")
LOADED = re.compile(r"<(?:script|img|iframe)[^>]+src=\"(?:https?:)?//|<link[^>]+href=\"(?:https?:)?//", re.IGNORECASE)


def text_of(page: Path) -> str:
    """A page without its blocks of code, in which a `#` is no heading and brackets are no link."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What can follow a `#` in a link to a page, as a forge and mkdocs make it of a heading."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(pages: list[Path], root: Path) -> list[str]:
    """Every relative link that leads nowhere, as `page: link`."""
    broken = []
    for page in pages:
        for link in LINK.findall(text_of(page)):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if "://" in link or link.startswith("mailto:"):
                continue
            if not target.exists() or not target.is_relative_to(root) or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(root)}: {link}")
    return broken


def tables_without_command(page: Path) -> list[str]:
    """The first row of every table with figures before whose end no command stands in its section (`#` or `##`)."""
    found, section, table = [], "", ""
    for line in [*page.read_text(encoding="utf-8").splitlines(), ""]:
        if re.match(r"##? ", line):
            section = ""
        section += line + "\n"
        if line.startswith("|"):
            table += line + "\n"
            continue
        if re.search(r"\d", table) and not COMMAND.search(section):
            found.append(f"{page.name}: {table.splitlines()[0]}")
        table = ""
    return found


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is not installed (requirements-docs.txt)")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list(DOCS.rglob("*.md"))) / 2
    assert [page.name for page in pages if LOADED.search(page.read_text(encoding="utf-8"))] == []


def test_no_link_is_broken() -> None:
    assert broken_links(PAGES, ROOT) == []


@pytest.mark.parametrize(
    "link", ["[a](missing.md)", "[a](b.md#nowhere)", "![a](x.png)", "[a](#nowhere)", "[a](../out)"]
)
def test_a_planted_broken_link_is_found(tmp_path: Path, link: str) -> None:
    (tmp_path / "b.md").write_text("# Some heading: 5 of it\n")
    page = tmp_path / "a.md"
    page.write_text(f"[fine](b.md#some-heading-5-of-it) [elsewhere](https://example.org/x.md) {link}\n")
    assert broken_links([page], tmp_path) == [f"a.md: {link.partition('(')[2][:-1]}"]


def test_every_source_file_that_a_page_names_exists() -> None:
    folders = (ROOT / name for name in ("vla_ros", "test", "config", "examples", "scripts"))
    files = [f"/{path.name}" for path in ROOT.glob("*")]
    files += [f"/{path.relative_to(ROOT)}" for folder in folders for path in folder.rglob("*")]
    named = {
        (page, name) for page in PAGES if page.name != "CHANGELOG.md" for name in SOURCE_FILE.findall(text_of(page))
    }
    missing = [
        f"{page.relative_to(ROOT)}: {name}" for page, name in named if not any(f.endswith(f"/{name}") for f in files)
    ]
    assert missing == []


def test_every_table_of_figures_names_its_command() -> None:
    pages = [ROOT / "README.md", *(DOCS / "benchmarks").glob("*.md")]
    assert [row for page in pages for row in tables_without_command(page)] == []


def test_a_planted_table_without_command_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("## One\n`vla-ros eval x`\n\n| a |\n|---|\n| 1 |\n\n## Two\n\n| b |\n|---|\n| 2 |\n")
    assert tables_without_command(page) == ["a.md: | b |"]


def benchmark_tables(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "benchmark_tables.py"), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_tables_of_benchmarks_are_what_the_reports_say() -> None:
    checked = benchmark_tables("--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr + "\nrun python scripts/benchmark_tables.py"


def test_every_report_is_shown_and_a_table_without_one_says_so() -> None:
    pages = [page.read_text(encoding="utf-8") for page in (DOCS / "benchmarks").glob("*.md")]
    shown = {
        name for page in pages for names in re.findall(r"<!-- table \w+: (.+?) -->", page) for name in names.split()
    }
    assert shown == {path.name for path in (DOCS / "benchmarks" / "data").iterdir()}
    typed = [
        page
        for page in pages
        if re.search(r"^\|.*\d", re.sub(r"<!-- table.*?<!-- end -->", "", page, flags=re.DOTALL), re.MULTILINE)
    ]
    assert [
        page.splitlines()[0] for page in typed if not re.search(r"typed from|`make faults`", page, re.IGNORECASE)
    ] == []


def test_a_planted_stale_table_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    (tmp_path / "data").mkdir()
    report = {"cameras": "3 of 640x480", "MB_per_s": 82.9, "seconds": 20.0, "sent": 9, "recorded": 9}
    (tmp_path / "data" / "bags.json").write_text(json.dumps(report))
    page.write_text("before\n<!-- table recording: bags.json -->\n| typed |\n<!-- end -->\nafter\n")
    assert benchmark_tables("--check", "--pages", str(tmp_path)).returncode == 1
    assert benchmark_tables("--pages", str(tmp_path)).returncode == 0
    assert page.read_text().splitlines()[-3:] == ["| 3 of 640x480 | 83 | 20.0 | 9 | 9 |", "<!-- end -->", "after"]
    assert benchmark_tables("--check", "--pages", str(tmp_path)).returncode == 0


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_MAX_LINES


def test_decisions_are_numbered_dated_and_reasoned() -> None:
    pages = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    for number, page in enumerate(pages, 1):
        text = page.read_text(encoding="utf-8")
        assert page.name.startswith(f"{number:04d}-"), page.name
        assert re.match(rf"# {number}\. .+\n\n\d{{4}}-\d\d-\d\d · (accepted|superseded by .+)\n\nBecause ", text), (
            page.name
        )
    index = (DOCS / "decisions" / "index.md").read_text(encoding="utf-8")
    assert [page.name for page in pages if page.name not in index] == []


@pytest.mark.live
def test_the_reference_is_what_the_code_says(ros_domain: int) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "generate_reference.py"), "--check"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert checked.returncode == 0, checked.stderr + "\nwrite it anew: python scripts/generate_reference.py"
