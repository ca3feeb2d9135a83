"""Write the tables of docs/benchmarks from reports; `--check` fails if one is not current.

A page says where a table goes and which reports of docs/benchmarks/data it shows:
`<!-- table KIND: NAME.json ... -->`, the table, `<!-- end -->`. A report is what the command printed with `--json`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PAGES = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"
PLACE = re.compile(r"(<!-- table (\w+): (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
Report = dict[str, Any]


def main() -> int:
    """Write the tables, or compare them with what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is not current")
    parser.add_argument("--pages", type=Path, default=PAGES, help="folder of the pages, with the reports in its data/")
    args, stale = parser.parse_args(), []
    for page in sorted(args.pages.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        current = filled(text, args.pages / "data")
        if current != text:
            stale.append(page.name)
            if not args.check:
                page.write_text(current, encoding="utf-8")
    print(f"{'not current' if args.check else 'written'}: {', '.join(stale) or 'no page'}")
    return 1 if args.check and stale else 0


def filled(text: str, data: Path) -> str:
    """Return a page with its tables made from the reports."""

    def table(place: re.Match[str]) -> str:
        reports = [json.loads((data / name).read_text(encoding="utf-8")) for name in place[3].split()]
        return f"{place[1]}{TABLES[place[2]](reports)}{place[4]}"

    return PLACE.sub(table, text)


def markdown(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join('-' if cell is None else str(cell) for cell in line)} |\n" for line in lines)


def percent(share: float) -> str:
    """Return a share as text."""
    return f"{100 * share:.1f} %".replace(".0 %", " %")


def interval(report: Report) -> str:
    """Return the 95 % interval of a share."""
    low, high = report["confidence_95"]
    return f"{100 * low:.1f} to {percent(high)}"


def each(values: Iterable[float | None]) -> str:
    """Return a figure of every run: `4.6, 5.0, 4.8`."""
    return ", ".join(map(fixed, values))


def fixed(value: float | None, digits: int = 1) -> str:
    """Return a figure as text."""
    return "-" if value is None else f"{value:.{digits}f}"


def success(reports: list[Report]) -> str:
    """`vla-ros eval MODEL`: a row for each report."""
    rows = []
    for report in reports:
        options = [f"`--seed {report['seed']}`"]
        options += [f"`--{name}`" for name, key in OPTIONS.items() if report.get(key)]
        families = (report["by_family"].get(name) for name in FAMILIES)
        shares = ["-" if found is None else f"{100 * found['success_rate']:.0f}" for found in families]
        share = percent(report["success_rate"])
        rows.append((" ".join(options), report["episodes"], share, interval(report), ", ".join(shares)))
    return markdown(("options", "episodes", "success", "95 % interval", f"{', '.join(FAMILIES)}, %"), rows)


OPTIONS = {"held-out": "held_out_wordings", "wrong-colour": "wrong_colour", "marked": "marked"}
FAMILIES = ("reach", "push", "lift", "drawer")


def answers(reports: list[Report]) -> str:
    """`vla-ros eval questions`."""
    [report] = reports
    rows = [(name, found["count"], percent(found["share"]), "") for name, found in report["questions"].items()]
    judged = report["checker"]["all"]
    rows[-1] = (*rows[-1][:3], interval(report["questions"]["all"]))
    rows.append(
        ("judge of success, against the simulator", judged["count"], percent(judged["share"]), interval(judged))
    )
    done = report["checker_by_moment"]["done"]
    rows.append(("the judge at the first moment that counts as done", done["count"], percent(done["share"]), ""))
    return markdown(("", "asked", "correct", "95 % interval"), rows)


def frames(reports: list[Report]) -> str:
    """`vla-ros eval modes`: images, of both cameras together."""
    [report] = reports
    digits = {"psnr_db": 1, "ssim": 3, "moving_psnr_db": 1, "moving_ssim": 3}
    rows = [
        (name.replace("_", " "), *(fixed(parts["together"][key], count) for key, count in digits.items()))
        for name, parts in report["frames"].items()
    ]
    return markdown(("images", "PSNR dB", "SSIM", "PSNR dB, moving region", "SSIM, moving region"), rows)


def actions(reports: list[Report]) -> str:
    """`vla-ros eval modes`: actions of the arm."""
    [report] = reports
    rows = []
    for name, found in report["actions"].items():
        parts = isinstance(found, dict)
        bounds = f"{found['low']:.4f} to {found['high']:.4f}" if parts else ""
        rows.append((name.replace("_", " "), fixed(found["value"] if parts else found, 4), bounds))
    return markdown(("actions of the arm", "", "95 % interval over episodes"), rows)


def sampler(reports: list[Report]) -> str:
    """`vla-ros bench uwm`: the fast sampler against the plain loop."""
    rows = []
    for report in reports:
        for name in ("fast_float32", "fast_bfloat16"):
            found, plain = report[name], report["plain"]["p50_ms"]
            agrees = f"{found['relative_difference']:.1e}" if name.endswith("32") else f"cosine {found['cosine']:.4f}"
            times = (f"{plain:.0f} ms", f"{found['p50_ms']:.0f} ms", fixed(found["times_faster"], 2), agrees)
            rows.append((report["preset"], name.removeprefix("fast_"), *times, f"{found['times_the_bound']:.2f}"))
    return markdown(
        ("preset", "", "plain p50", "fast p50", "ratio", "largest relative difference, or cosine", "over the bound"),
        rows,
    )


def graph(reports: list[Report]) -> str:
    """`vla-ros bench graph`: the runs beside each other."""
    stages = {name: [report["stages_ms"][name] for report in reports] for name in reports[0]["stages_ms"]}
    stages["the commander's period, as the commands arrive"] = [report["command_period_ms"] for report in reports]
    rows = [(name, *(each([run[p] for run in runs]) for p in ("p50", "p99"))) for name, runs in stages.items()]
    rows.append(("the same, by its own clock", "", each([report["control_period_p99_ms"] for report in reports])))
    load = each([report["commander_cpu_percent"] for report in reports])
    return markdown(("from", "p50 ms", "p99 ms"), [*rows, (f"the commander's share of a core: {load} %", "", "")])


def chunking(reports: list[Report]) -> str:
    """`vla-ros bench chunking`."""
    rows: list[tuple[object, ...]] = []
    for row in (row for report in reports for row in report["rows"]):
        start = (row["execution"], row["delay_steps"])
        if "refused" in row:
            rows.append((*start, f"refused: {row['refused']}", *[""] * 7))
            continue
        streams = [found for name in ("plan", "command") for found in jerk(row[name])]
        times = (fixed(row["seconds_to_success_p50"], 2), f"{row['idle_s']:.2f}", f"{row['stops']:.2f}")
        rows.append((*start, percent(row["success_rate"]), *times, *streams))
    head = ("execution", "delay", "success", "seconds", "idle s", "stops")
    return markdown((*head, "plan: jerk", "ratio", "command: jerk", "ratio"), rows)


def jerk(stream: Report) -> tuple[str, str]:
    """Return a stream's mean jerk after a new chunk took over, and its ratio to the rest."""
    boundary = stream["jerk"]["boundary"]
    return "-" if boundary is None else f"{boundary['mean']:.0f}", fixed(stream["jerk_ratio"], 2)


def recording(reports: list[Report]) -> str:
    """`vla-ros bench bags`."""
    rows = [(one["cameras"], f"{one['MB_per_s']:.0f}", one["seconds"], one["sent"], one["recorded"]) for one in reports]
    return markdown(("cameras", "MB/s", "seconds", "images sent", "recorded"), rows)


TABLES: dict[str, Callable[[list[Report]], str]] = {
    function.__name__: function for function in (success, answers, frames, actions, sampler, graph, chunking, recording)
}


if __name__ == "__main__":
    sys.exit(main())
