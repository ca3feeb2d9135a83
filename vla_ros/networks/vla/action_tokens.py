"""Actions as numbers in [-1, 1], and as words of a language model (RoboVLMs, arXiv 2412.14058, and RT-2 before it)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 256
RESERVED = 10  # ids left alone above the bins, as in the official code


def normalise(actions: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(..., A) in robot units -> [-1, 1], clipped; `low` and `high` (A,) are the 1st and 99th percentile."""
    return (2 * (actions - low) / (high - low) - 1).clamp(-1, 1)


def restore(normalised: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The inverse of `normalise` within the percentiles."""
    return 0.5 * (normalised + 1) * (high - low) + low


@dataclass(frozen=True, slots=True)
class ActionTokens:
    """Each number becomes one of 256 words at the end of the vocabulary, the smallest number the last of them.

    vocabulary: number of words; special: how many of them at its end are special.
    """

    vocabulary: int
    special: int = 0

    def __post_init__(self) -> None:
        if self.base <= BINS:
            raise ValueError(f"a vocabulary of {self.vocabulary} has no room for {BINS} action tokens")

    @property
    def base(self) -> int:
        """The id above the first bin's."""
        return self.vocabulary - self.special - RESERVED

    def encode(self, actions: Tensor) -> Tensor:
        """(...) in [-1, 1] -> ids, int64."""
        edges = torch.linspace(-1, 1, BINS, dtype=torch.float64, device=actions.device)
        # As numpy's digitize: a number on an edge belongs to the bin above it.
        return self.base - torch.bucketize(actions.double().clamp(-1, 1), edges, right=True)

    def decode(self, ids: Tensor) -> Tensor:
        """Ids -> (...) float32, the middles of the bins; any other word is the nearest of the bins at the ends."""
        edges = torch.linspace(-1, 1, BINS, dtype=torch.float64, device=ids.device)
        middles = (edges[1:] + edges[:-1]) / 2
        return middles[(self.base - ids - 1).clamp(0, BINS - 2)].float()


@dataclass(frozen=True, slots=True)
class Window:
    """What a moment of a demonstration teaches.

    frames: (W,) the frames to show; before the start, the first again.
    actions: (W, chunk) the actions due from each of them; beyond the end, the last again.
    mask: (W, chunk) true where frame and action are real.
    """

    frames: Tensor
    actions: Tensor
    mask: Tensor


def window_at(moment: int, length: int, window: int, chunk: int) -> Window:
    """The window that ends at frame `moment` of a demonstration of `length` frames, each with its action."""
    frames = torch.arange(moment - window + 1, moment + 1)
    actions = frames[:, None] + torch.arange(chunk)
    mask = (frames[:, None] >= 0) & (actions < length)
    return Window(frames.clamp(min=0), actions.clamp(0, length - 1), mask)
