"""What several trainings are tested with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from vla_ros.core.types import Observation
from vla_ros.datasets.demonstrations import load_demonstrations
from vla_ros.datasets.expert import collect_shard, joints_meta
from vla_ros.sim.tabletop.tasks import TASKS


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """accelerate keeps one precision a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def short_demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes of the expert, as `vla-ros demos` writes them."""
    folder = tmp_path_factory.mktemp("demos")
    collect_shard(folder / "shard_000", [0, 1, 2])
    meta = {"tasks": list(TASKS), **joints_meta(), "cameras": ["front", "wrist"], "step_ns": 100_000_000}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.fixture
def observation(short_demonstrations: Path) -> Observation:
    """Their first frame."""
    demos = load_demonstrations(short_demonstrations)
    images = {name: frames[:1] for name, frames in demos.images.items()}
    return Observation(1_000_000_000, images, demos.state[:1], "lift the red block")
