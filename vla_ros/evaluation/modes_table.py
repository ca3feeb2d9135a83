"""Format what `vla-ros eval modes` measured as text."""

from __future__ import annotations

from typing import Any

Figures = dict[str, Any]


def table(figures: Figures) -> str:
    """Return the figures as text."""
    lines = [
        f"{figures['model']}: {figures['windows']} windows of {figures['episodes']} held-out episodes, "
        f"frames at steps {figures['future_steps']}, {figures['sampling_steps']} sampling steps",
        f"moving region: {figures['moving_region']}",
        "",
        f"{'frames (cameras together)':<42}{'PSNR dB':>9}{'SSIM':>8}{'moving PSNR dB':>16}{'moving SSIM':>13}",
    ]
    for name, parts in figures["frames"].items():
        whole = parts["together"]
        lines.append(
            f"  {name.replace('_', ' '):<40}{_cell(whole['psnr_db'], 9, 2)}{_cell(whole['ssim'], 8, 3)}"
            f"{_cell(whole['moving_psnr_db'], 16, 2)}{_cell(whole['moving_ssim'], 13, 3)}"
        )
    lines += ["", "in the moving region [dB], 95 % interval over episodes"]
    lines += [_interval(name, value, 2) for name, value in figures["moving_db"].items()]
    lines += ["", "actions of the arm [rad]"]
    for name, value in figures["actions"].items():
        lines.append(_interval(name, value, 4) if isinstance(value, dict) else f"  {name.replace('_', ' '):<46}{value}")
    if figures["unconditional"]:
        lines += ["", "unconditional video, latents by channel"]
        lines += [f"  {name.replace('_', ' '):<18}{value}" for name, value in figures["unconditional"].items()]
    return "\n".join(lines + _compared(figures.get("compare", {"models": {}, "differences": []})))


def _compared(found: Figures) -> list[str]:
    lines = ["", "models"] if found["models"] else []
    lines += [f"  {name:<24}{_listed(row)}" for name, row in found["models"].items()]
    for pair in found["differences"]:
        lines += ["", f"{pair['first']} is better than {pair['second']} by"]
        lines += [_interval(name, value, 4) for name, value in pair["better_by"].items()]
    return lines


def _listed(row: Figures) -> str:
    return "  ".join(f"{name.replace('_', ' ')} {value}" for name, value in row.items())


def _interval(name: str, value: Figures, digits: int) -> str:
    low, high = (f"{value[end]:+.{digits}f}" for end in ("low", "high"))
    return f"  {name.replace('_', ' '):<46}{value['value']:+.{digits}f}  [{low}, {high}]"


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"
