"""What the trainings of model folders share around the loop: to its end, what was reached, what it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from vla_ros.core.config import to_plain
from vla_ros.datasets.demonstrations import Demonstrations
from vla_ros.training.loop import Pictures, Trainer, Validate


def learn(
    trainer: Trainer,
    draw: Callable[[np.random.Generator], dict[str, Tensor]],
    validate: Validate,
    resume: bool,
    pictures: Pictures | None = None,
) -> dict[str, float]:
    """Train from the first step or the run's checkpoint; the figures of the weights to keep (none in other processes).

    `draw(rng)` gives a batch, not the same again after a resume, nor in two processes.
    """
    if resume:
        trainer.resume()
    rng = np.random.default_rng([trainer.config.seed, trainer.step, trainer.accelerator.process_index])
    trainer.run(lambda _: draw(rng), validate, pictures)
    if not trainer.accelerator.is_main_process:
        return {}
    return {**validate(trainer.result), "steps": trainer.step}


def provenance(data: Demonstrations, config: Any, figures: dict[str, float], trainer: Trainer) -> dict[str, object]:
    """What a model folder tells of its making."""
    return {
        "demonstrations": data.meta,
        "training": to_plain(config),
        "validation": figures,
        "seconds": round(trainer.seconds),
    }
