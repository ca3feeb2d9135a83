"""The model card says what was measured, of either kind of model, and keeps what was measured before."""

from __future__ import annotations

import pytest
import yaml

from vla_ros.core.errors import ModelError
from vla_ros.evaluation.model_card import write_card

COMMON = {
    "contract": {
        "cameras": [{"name": "front", "width": 64, "height": 64}],
        "joints": ["pan", "gripper"],
        "horizon": 12,
        "step_s": 0.1,
        "execute_steps": 2,
    },
    "provenance": {
        "training": {
            "loop": {"steps": 10, "batch": 2, "learning_rate": 0.001, "threads": 1},
            "initial": "runs/before",
            "freeze_images": True,
            "freeze_backbone": True,
            "tower": "models/eyes",
        },
        "demonstrations": {"episodes": 3, "frames": 90},
        "validation": {"plan_mae": 0.0123},
        "seconds": 120,
    },
}
KINDS = {
    "uwm": {"future_steps": [6, 12]},
    "vla": {"formulation": "policy_head", "head": {"kind": "lstm"}, "window": 8},
}
SAID = {
    "uwm": ("Unified World Model", "frames expected at steps [6, 12]", "image networks were trained before"),
    "vla": ("vision-language-action", "formulation policy_head, head lstm", "models/eyes, in the place of CLIP"),
}


def summary(rate: float, families: tuple[str, ...], **asked: bool) -> dict:
    groups = {name: {"success_rate": rate, "episodes": 4} for name in families}
    figures = {
        "success_rate": rate,
        "confidence_95": [0.2, 0.9],
        "episodes": 8,
        "by_family": groups,
        "seed": 7,
        "chunk_ms_p50": 1.0,
        "chunk_ms_p99": 2.0,
    }
    return figures | {"held_out_wordings": False, "wrong_colour": False} | asked


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_was_measured(kind, tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"kind": kind, **COMMON, **KINDS[kind]}))
    (tmp_path / "model.safetensors").write_bytes(b"0" * 2_000_000)
    write_card(tmp_path, summary(1.0, ("drawer", "lift")))
    write_card(tmp_path, summary(0.5, ("drawer", "lift"), held_out_wordings=True))
    write_card(tmp_path, summary(0.125, ("lift",), wrong_colour=True))
    text = (tmp_path / "README.md").read_text()
    for words in SAID[kind]:
        assert words in text
    assert "| training wordings (seed 7) | 8 | 100.0 % | 20 to 90 % | 100 % | 100 % |" in text
    assert "| held-out wordings (seed 7) | 8 | 50.0 %" in text
    assert "wrong colour (low is right) (seed 7) | 8 | 12.5 % | 20 to 90 % | - | 12 % |" in text


@pytest.mark.parametrize(
    "start",
    [
        {"start": {"folder": "runs/before", "part": "all", "freeze_images": True}},
        {"initial": "runs/before", "initial_part": "all", "freeze_images": True},  # of an older model
    ],
)
def test_what_it_goes_on_from_is_named_once(tmp_path, start):
    loop = {"loop": COMMON["provenance"]["training"]["loop"]}
    made = COMMON["provenance"] | {"training": loop | start}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"kind": "uwm", **COMMON, **KINDS["uwm"], "provenance": made}))
    (tmp_path / "model.safetensors").write_bytes(b"0")
    write_card(tmp_path, summary(1.0, ("lift",)))
    text = (tmp_path / "README.md").read_text()
    assert "goes on from runs/before" in text and "image networks stay as they were" in text
    assert "image networks were trained before" not in text


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1, "a": 2}', "[" * 100_000])
def test_figures_that_cannot_be_read_are_one_line(tmp_path, text):
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(ModelError, match=r"evaluation\.json: .*; delete it to begin anew"):
        write_card(tmp_path, {"held_out_wordings": False, "wrong_colour": False})
    assert (tmp_path / "evaluation.json").read_text() == text
