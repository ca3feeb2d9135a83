"""The loop: it goes on where it stopped, in either precision, and shows pictures with its curves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from vla_ros.core.config import parse
from vla_ros.core.errors import ConfigError
from vla_ros.training.config import LoopConfig
from vla_ros.training.loop import Trainer, cosine_with_warmup


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """accelerate keeps one precision a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


class Line(nn.Module):
    """A loss without randomness; it remembers in which precision it was computed."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 1)
        self.dtypes: set[torch.dtype] = set()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.linear(x)
        self.dtypes.add(y.dtype)
        return {"squared": (y[:, 0].float() - x.sum(1)).square().mean()}


def draw(step: int) -> dict[str, Tensor]:
    return {"x": torch.randn(8, 4, generator=torch.Generator().manual_seed(step))}


def config(run: Path) -> LoopConfig:
    return LoopConfig(
        run, steps=12, batch=8, learning_rate=0.05, warmup=4, checkpoint_every=5, validate_every=6, threads=1
    )


def trainer(loop: LoopConfig) -> Trainer:
    torch.manual_seed(0)
    return Trainer(Line(), loop)


def learning_rates(subject: Trainer, stop: int | None = None) -> list[float]:
    """Train to the end, or until an interruption before step `stop`; the learning rate of every step."""
    rates = []

    def spy(step: int) -> dict[str, Tensor]:
        if step == stop:
            raise KeyboardInterrupt
        rates.append(subject.schedule.get_last_lr()[0])
        return draw(step)

    if stop is None:
        subject.run(spy, lambda module: {})
    else:
        with pytest.raises(KeyboardInterrupt):
            subject.run(spy, lambda module: {})
    return rates


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path: Path, ema: float) -> None:
    whole = trainer(replace(config(tmp_path / "whole"), ema=ema))
    rates = learning_rates(whole)
    half = replace(config(tmp_path / "half"), ema=ema)
    assert learning_rates(trainer(half), stop=7) == rates[:7]
    again = trainer(half)
    again.resume()
    assert again.step == 5  # the last checkpoint
    assert learning_rates(again) == rates[5:]
    assert again.step == 12 and again.seconds > 0
    factor = cosine_with_warmup(4, 12)
    assert rates == pytest.approx([0.05 * factor(step) for step in range(12)])
    for got, expected in zip(again.result.parameters(), whole.result.parameters(), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_lean_checkpoint_leaves_out_what_does_not_learn(tmp_path: Path, ema: float) -> None:
    loop, whole = replace(config(tmp_path), ema=ema), {"linear.weight", "linear.bias"}
    for lean in (True, False):
        torch.manual_seed(0)
        module = Line()
        module.linear.bias.requires_grad_(False)
        subject = Trainer(module, loop, lean)
        subject.run(draw, lambda module: {})
        saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        assert saved["module"].keys() == (whole - {"linear.bias"} if lean else whole)
        again = Trainer(module, loop, lean)
        again.resume()
        assert again.step == 12
        with pytest.raises(ConfigError, match=r"of another network: 1 weights differ, .*linear.bias the first"):
            Trainer(module, loop, not lean).resume()


def test_resuming_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to resume, start without --resume"):
        trainer(config(tmp_path)).resume()


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_of_the_forward_pass_only(tmp_path: Path, precision: str, dtype: torch.dtype) -> None:
    words = {"steps": 200, "batch": 8, "learning_rate": 0.1, "precision": precision, "ema": 0.0, "threads": 1}
    loop = parse({"run": str(tmp_path), **words}, LoopConfig, "test")
    subject, before = trainer(loop), Line()
    loss = before(**draw(0))["squared"].item()
    subject.run(draw, lambda module: {})
    bare = subject.accelerator.unwrap_model(subject.module)
    assert bare.dtypes == {dtype}
    assert {p.dtype for p in subject.result.parameters()} == {torch.float32}
    assert Line.forward(subject.result.cpu(), **draw(0))["squared"].item() < 0.05 * loss


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="precision"):
        parse({"run": str(tmp_path), "steps": 1, "batch": 1, "precision": "fp8"}, LoopConfig, "test")


def test_curves_and_pictures_are_written_at_every_validation(tmp_path: Path) -> None:
    states = []

    def pictures(module: nn.Module) -> dict[str, Tensor]:
        states.append((module.training, torch.is_grad_enabled()))
        return {"validation/grid": torch.zeros(3, 8, 16)}

    subject = trainer(config(tmp_path))
    subject.run(draw, lambda module: {"figure": 1.5}, pictures)
    assert states == [(False, False)] * 2 and subject.result.training
    written = EventAccumulator(str(tmp_path))
    written.Reload()
    assert [(event.step, event.value) for event in written.Scalars("validation/figure")] == [(6, 1.5), (12, 1.5)]
    images = written.Images("validation/grid")
    assert [(event.step, event.width, event.height) for event in images] == [(6, 16, 8), (12, 16, 8)]


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not finite at step 0"):
        trainer(config(tmp_path)).run(lambda step: {"x": torch.full((8, 4), torch.nan)}, lambda module: {})
