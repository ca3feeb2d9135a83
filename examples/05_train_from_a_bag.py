"""From rosbags to a trained policy.

    python examples/05_train_from_a_bag.py [STEPS]

Bags are exported as a LeRobotDataset, which the training reads. Here the simulator's expert stands for your robot: its
demonstrations are written as bags first. A few steps show the way; `config/training/uwm_bags.yaml` reaches 100 %.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

CONFIG = Path(__file__).parents[1] / "config" / "training" / "uwm_bags.yaml"


def vla(*words: object) -> None:
    """Run `vla-ros`."""
    print("vla-ros", *words, flush=True)
    subprocess.run([sys.executable, "-m", "vla_ros.cli.main", *map(str, words)], check=True)


def main(steps: int = 20) -> None:
    """Record, export, train."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vla("demos", "--out", folder / "demos", "--episodes", 4, "--seed", 0, "--processes", 1)
        vla("demos", "--out", folder / "demos", "--bags", folder / "bags")
        vla("export", *sorted((folder / "bags").iterdir()), "--robot", "ur5e_tabletop", "--actions", "chunk",
            "--out", folder / "dataset")  # fmt: skip
        config = yaml.safe_load(CONFIG.read_text()) | {"data": str(folder / "dataset"), "out": str(folder / "model")}
        config["loop"] |= {"run": str(folder / "run"), "steps": steps, "batch": 16}
        (folder / "train.yaml").write_text(yaml.safe_dump(config))
        vla("train", "--config", folder / "train.yaml")
        vla("eval", folder / "model", "--episodes", 2, "--time-limit", 3)


if __name__ == "__main__":
    main(*(int(steps) for steps in sys.argv[1:2]))
