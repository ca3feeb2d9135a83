"""The model card: what a model folder holds, how it was made, and what it reached, from measured figures only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vla_ros.core.config import load_yaml
from vla_ros.core.errors import ModelError
from vla_ros.core.files import write_whole
from vla_ros.core.strict_json import load_json
from vla_ros.policies.weights import FILE as WEIGHTS

EVALUATION = "evaluation.json"
WHAT = {
    "uwm": "A Unified World Model (arXiv 2504.02792), tabletop preset",
    "vla": "A small vision-language-action model in the form of LLaVA and RoboVLMs (arXiv 2304.08485, 2412.14058)",
}


def write_card(folder: Path, summary: dict[str, Any]) -> None:
    """Add an evaluation's figures to `evaluation.json` and write `README.md` anew."""
    path = folder / EVALUATION
    figures = _figures(path)
    name = "held-out wordings" if summary["held_out_wordings"] else "training wordings"
    name += ", wrong colour (low is right)" if summary["wrong_colour"] else ""
    figures["a block that was marked for a moment" if summary.get("marked") else name] = summary
    write_whole(path, json.dumps(figures, indent=1) + "\n")
    write_whole(folder / "README.md", card(folder, figures))


def _figures(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = load_json(path)
    except (ValueError, OSError) as error:
        raise ModelError(f"{path}: cannot be read: {error}; delete it to begin anew") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path}: must hold figures by name; delete it to begin anew")
    return found


def card(folder: Path, figures: dict[str, Any]) -> str:
    """The text of the card."""
    config = load_yaml(folder / "config.yaml")
    made, contract = config["provenance"], config["contract"]
    cameras = ", ".join(f"{c['name']} {c['width']}x{c['height']}" for c in contract["cameras"])
    training, data = made["training"], made["demonstrations"]
    loop = training["loop"]
    return "\n".join(
        [
            f"# {folder.name}",
            "",
            f"{WHAT[config['kind']]}, trained in the embedded simulator.",
            "",
            f"- In: cameras {cameras}; joints {', '.join(contract['joints'])}; a sentence.",
            f"- Out: {contract['horizon']} absolute joint positions, {contract['step_s']} s apart, "
            f"of which {contract['execute_steps']} are executed{_beside(config)}.",
            f"- Weights: {(folder / WEIGHTS).stat().st_size / 1e6:.1f} MB, safetensors.",
            f"- Data: {data.get('episodes', '?')} demonstrations, {data.get('frames', '?')} frames, "
            "by `vla-ros demos`.",
            f"- Training: {loop['steps']} steps of {loop['batch']} frames, learning rate {loop['learning_rate']}, "
            f"{made['seconds'] / 60:.0f} minutes on {loop['threads']} CPU threads, by `vla-ros train`.",
            *_before(training),
            "- On held-out episodes: " + ", ".join(f"{k} {v:.4g}" for k, v in made["validation"].items()) + ".",
            "",
            "## Closed-loop success",
            "By `vla-ros eval`, without ROS, on seeds that training never saw; intervals are Wilson's at 95 %.",
            "",
            *_table(figures),
            "",
            "## Limits",
            "It knows this table, these blocks, this light and these two cameras. Success here says nothing about "
            "a real",
            "robot. It is a demonstration of the package, not a policy to run on hardware.",
            "",
        ]
    )


def _beside(config: dict[str, Any]) -> str:
    """What it gives or keeps beside the actions."""
    if config["kind"] == "vla":
        head = config["head"]
        memory = f"a memory of {config['window']} chunks" if config["window"] > 1 else "no memory"
        return f"; formulation {config['formulation']}, head {head['kind']}, {memory}"
    return f"; frames expected at steps {config['future_steps']}"


def _before(training: dict[str, Any]) -> list[str]:
    """Say what was trained before this training, and what of it does not learn here."""
    lines = []
    start = training.get("start") or _flat_start(training)
    frozen = start["freeze_images"]
    if start["part"] == "all":
        stay = "; its image networks stay as they were" if frozen else ""
        lines.append(f"- It goes on from {start['folder']}, all of whose weights were trained before{stay}.")
    elif frozen:
        lines.append(f"- Its image networks were trained before, in {start['folder']}, and are frozen here.")
    if training.get("tower"):
        lines.append(f"- Its image networks are those of {training['tower']}, in the place of CLIP, and frozen.")
    if training.get("freeze_backbone"):
        lines.append(f"- Its backbone was trained before, in {start['folder']}, and is frozen here.")
    return lines


def _flat_start(training: dict[str, Any]) -> dict[str, Any]:
    """Return the block `start` of a training that has none: of a VLA, or of a model older than the block."""
    names = {"folder": "initial", "part": "initial_part", "freeze_images": "freeze_images"}
    return {name: training.get(old) for name, old in names.items()}


def _table(figures: dict[str, Any]) -> list[str]:
    families = sorted({family for figure in figures.values() for family in figure["by_family"]})
    rows = [
        f"| | episodes | success | interval | {' | '.join(families)} | chunk ms p50 / p99 |",
        "|---|---" * 2 + "|---" * (len(families) + 1) + "|",
    ]
    for name, f in figures.items():
        parts = " | ".join(_percent(f["by_family"].get(k)) for k in families)
        low, high = f["confidence_95"]
        rows.append(
            f"| {name} (seed {f['seed']}) | {f['episodes']} | {100 * f['success_rate']:.1f} % | "
            f"{100 * low:.0f} to {100 * high:.0f} % | {parts} | {f['chunk_ms_p50']} / {f['chunk_ms_p99']} |"
        )
    return rows


def _percent(group: dict[str, Any] | None) -> str:
    return f"{100 * group['success_rate']:.0f} %" if group else "-"
