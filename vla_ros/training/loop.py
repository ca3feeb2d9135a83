"""The loop that every training shares: schedule, clipping, EMA, resume, mixed precision, progress, curves, pictures.

One process by default. `torchrun --nproc_per_node 2 -m vla_ros.cli.main train --config FILE` runs the same code on two
GPUs (or, to try it, two CPU processes): gradients are averaged, so a step learns from `batch` frames of each process.
Only the main process validates, prints and writes.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from vla_ros.core.errors import ConfigError
from vla_ros.training.checkpoint import kept, put_back
from vla_ros.training.config import LoopConfig

Losses = Mapping[str, Tensor]
Draw = Callable[[int], dict[str, Tensor]]
Validate = Callable[[Any], Mapping[str, float]]
Pictures = Callable[[Any], Mapping[str, Tensor]]
CHECKPOINT = "checkpoint.pt"
PRECISIONS = {"float32": "no", "bf16": "bf16"}  # as accelerate calls them


def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks: returning them to the system each step cost a third of the speed on CPU."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        return  # another C library; only speed is lost


def cosine_with_warmup(warmup: int, steps: int) -> Callable[[int], float]:
    """Factor of the learning rate: linear up over `warmup` steps, then half a cosine down to zero."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return float(0.5 * (1 + torch.cos(torch.tensor(progress * torch.pi))))

    return factor


def processes() -> PartialState:
    """The processes that train together, and this one's place among them."""
    # Untold that there is no accelerator, accelerate takes torchrun's CPU processes for so many trainings of their own.
    return PartialState(cpu=not torch.accelerator.is_available())


class Trainer:
    """Minimises the sum of the losses that `module(**batch)` returns; `averaged` holds the EMA weights.

    lean: weights that do not learn are left out of checkpoints; whoever resumes has put them into the module.
    """

    def __init__(self, module: nn.Module, config: LoopConfig, lean: bool = False) -> None:
        keep_freed_memory()
        self.config, self.lean = config, lean
        self.accelerator = Accelerator(
            cpu=processes().device.type == "cpu", mixed_precision=PRECISIONS[config.precision]
        )
        torch.set_num_threads(config.threads)
        optimizer = torch.optim.AdamW(module.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        self.module, self.optimizer = self.accelerator.prepare(module, optimizer)
        bare = self.accelerator.unwrap_model(self.module)
        self.averaged = AveragedModel(bare, multi_avg_fn=get_ema_multi_avg_fn(config.ema)) if config.ema else None
        self.schedule = LambdaLR(self.optimizer, cosine_with_warmup(config.warmup, config.steps))
        self.step = 0
        self.seconds = 0.0  # spent training, over all resumed pieces

    @property
    def result(self) -> Any:
        """The weights to keep: averaged where EMA is on."""
        return self.averaged.module if self.averaged else self.accelerator.unwrap_model(self.module)

    def resume(self) -> None:
        """Continue from the run's checkpoint."""
        path = self.config.run / CHECKPOINT
        if not path.is_file():
            raise ConfigError(f"{path}: no such file; nothing to resume, start without --resume")
        saved = torch.load(path, map_location=self.accelerator.device, weights_only=True)
        put_back(self.accelerator.unwrap_model(self.module), saved["module"], self.lean)
        if self.averaged:
            put_back(self.averaged, saved["averaged"], self.lean)
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.step, self.seconds = saved["step"], saved["seconds"]

    def save(self) -> None:
        """Write the run's checkpoint, whole or not at all."""
        if not self.accelerator.is_main_process:
            return
        path = self.config.run / CHECKPOINT
        content = {
            "module": kept(self.accelerator.unwrap_model(self.module), self.lean),
            "averaged": kept(self.averaged, self.lean) if self.averaged else {},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(content, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def run(self, draw: Draw, validate: Validate, pictures: Pictures | None = None) -> None:
        """Train up to `steps`: `draw(step)` gives a batch.

        `validate(module)` gives figures for the curves, and `pictures(module)` pictures (3, H, W) in [0, 1] by name.
        """
        config = self.config
        config.run.mkdir(parents=True, exist_ok=True)
        self._seed()
        started, first, before_s = time.monotonic(), self.step, self.seconds
        frames = config.batch * self.accelerator.num_processes  # a step
        with self._curves() as writer, self._progress() as progress:
            task = progress.add_task("training", total=config.steps, completed=self.step, note="")
            while self.step < config.steps:
                losses = self._one(draw(self.step))
                self.step += 1
                self.seconds = before_s + time.monotonic() - started
                rate = (self.step - first) * frames / (time.monotonic() - started)
                if self.step % 10 == 0:
                    values = {name: float(value.detach()) for name, value in losses.items()}
                    progress.update(task, note=_line(values, rate))
                    _write(writer, "loss", values, self.step)
                if writer and (self.step % config.validate_every == 0 or self.step == config.steps):
                    figures = self._validate(writer, validate, pictures)
                    progress.console.print(f"step {self.step}: {_line(figures, rate)}")
                if self.step % config.checkpoint_every == 0 or self.step == config.steps:
                    self.save()
                progress.update(task, completed=self.step)

    def _seed(self) -> None:
        """Noise of its own for each process, and not the same again after a resume."""
        place = [self.config.seed, self.step, self.accelerator.process_index]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def _validate(self, writer: SummaryWriter, validate: Validate, pictures: Pictures | None) -> Mapping[str, float]:
        """Figures and pictures of the weights to keep, also for the curves."""
        module = self.result.eval()
        with torch.no_grad():
            figures = validate(module)
            shown = pictures(module) if pictures else {}
        module.train()
        _write(writer, "validation", figures, self.step)
        for name, picture in shown.items():
            writer.add_image(name, picture, self.step)
        writer.flush()
        return figures

    def _one(self, batch: dict[str, Tensor]) -> Losses:
        losses: Losses = self.module(**beside(self.module, batch))
        total = sum(losses.values(), torch.zeros(()).to(self.accelerator.device))
        if not bool(torch.isfinite(total)):
            raise RuntimeError(f"the loss is not finite at step {self.step}: {dict(losses)}")
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(total)
        self.accelerator.clip_grad_norm_(self.module.parameters(), self.config.clip)
        self.optimizer.step()
        self.schedule.step()
        if self.averaged:
            self.averaged.update_parameters(self.accelerator.unwrap_model(self.module))
        return losses

    def _curves(self) -> AbstractContextManager[SummaryWriter | None]:
        return SummaryWriter(self.config.run) if self.accelerator.is_main_process else nullcontext()

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            disable=not self.accelerator.is_main_process,
        )


def beside(module: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The batch where the module's weights are."""
    device = next(module.parameters()).device
    return {name: value.to(device) for name, value in batch.items()}


def _write(writer: SummaryWriter | None, group: str, values: Mapping[str, float], step: int) -> None:
    if writer:
        for name, value in values.items():
            writer.add_scalar(f"{group}/{name}", value, step)


def _line(values: Mapping[str, float], rate: float) -> str:
    return f"{rate:.0f} samples/s  " + "  ".join(f"{name} {value:.4f}" for name, value in values.items())


def write_text(path: Path, text: str) -> None:
    """Write a small text file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
